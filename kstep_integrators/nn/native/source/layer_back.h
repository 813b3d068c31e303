// One layer for a block of atoms, backward: gradients by what an atom was before it.
#pragma once
#include "layer.h"

namespace {

// Gradients by the invariants after a layer, added to those by its scalars and vectors.
template <class N> void invariants_back(int layer, int n, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.wide, vectors = wide / LANES<N>;
    const N* v = vectors_after(layer, w, space);
    for (size_t i = 0; i < (size_t)n; ++i) {
        const N *norm = space.invariants.data() + i * w.invariants + 2 * layer * wide;
        const N *g = space.ginvariants.data() + i * w.invariants + 2 * layer * wide;
        for (int k = 0; k < vectors; ++k) {
            at(space.gs + i * wide, k) += at(g, vectors + k);
            const Vec<N> pull = at(g, k) / at(norm, k);
            for (int a = 0; a < 3; ++a) at(space.gv + i * 3 * wide, a * vectors + k) += pull * at(v + i * 3 * wide, a * vectors + k);
        }
    }
}

template <class N> void update_back(int layer, Block block, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.wide, vectors = wide / LANES<N>;
    const bool makes = makes_vectors(layer, w);
    const int made = makes ? 3 : 2;
    const LayerWeights<Real<N>>& y = w.layers[layer];
    const Kept<N>& kept = space.layers[layer];
    const int atoms = block.atoms;
    N *g3 = space.h3.data(), *h = space.h.data(), *g6 = space.h6.data();
    for (int n = 0; n < atoms; ++n) {
        const size_t i = block.first + n;
        const N *gs = space.gs + i * wide, *gv = space.gv + i * 3 * wide, *lr = kept.lr + i * 6 * wide;
        N* g = g3 + n * made * wide;
        for (int k = 0; k < vectors; ++k) {
            at(g, k) = at(gs, k);
            at(g, vectors + k) = at(gs, k) * at(kept.dot + i * wide, k);
            if (makes)
                at(g, 2 * vectors + k) = at(gv, k) * at(lr, k) + at(gv, vectors + k) * at(lr, 2 * vectors + k) +
                                         at(gv, 2 * vectors + k) * at(lr, 4 * vectors + k);
        }
    }
    multiply(atoms, g3, made * wide, y.out_back, h, wide);
    for (int k = 0; k < atoms * vectors; ++k) at(h, k) *= at(kept.hidden_slope + block.first * wide, k);
    N* gx = g3;  // the gradients by a_ss, a_sv, a_vv have been used
    multiply(atoms, h, wide, y.hidden_back, gx, 2 * wide);
    for (int n = 0; n < atoms; ++n) {
        const size_t i = block.first + n;
        N* gs = space.gs + i * wide;
        const N *gv = space.gv + i * 3 * wide, *lr = kept.lr + i * 6 * wide, *out = kept.out + i * made * wide;
        const N *g = gx + n * 2 * wide, *norm = kept.x + i * 2 * wide + wide;
        N* to = g6 + n * 6 * wide;
        for (int k = 0; k < vectors; ++k) {
            const Vec<N> gdot = at(gs, k) * at(out, vectors + k), gnorm = at(g, vectors + k) / at(norm, k);
            for (int a = 0; a < 3; ++a) {
                const Vec<N> left = at(lr, 2 * a * vectors + k), right = at(lr, (2 * a + 1) * vectors + k);
                Vec<N> by_left = gdot * right;
                if (makes) by_left += at(gv, a * vectors + k) * at(out, 2 * vectors + k);
                at(to, 2 * a * vectors + k) = by_left;
                at(to, (2 * a + 1) * vectors + k) = gdot * left + gnorm * right;
            }
            at(gs, k) += at(g, k);
        }
    }
    multiply(3 * atoms, g6, 2 * wide, y.mix_back, space.gv + block.first * 3 * wide, wide, true);
}

// From the gradients by messages and c v to those by scalars and vectors before the layer.
template <class N> void prepare_messages_back(int layer, Block block, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.wide, vectors = wide / LANES<N>;
    const LayerWeights<Real<N>>& y = w.layers[layer];
    const Kept<N>& kept = space.layers[layer];
    N* h = space.h.data();
    for (size_t i = block.first; i < block.first + block.atoms; ++i) {
        N *gc = space.gphi + i * 3 * wide + 2 * wide, *gv = space.gv + i * 3 * wide;
        const N *g = space.gcv + i * 3 * wide, *c = kept.phi + i * 3 * wide + 2 * wide, *v = kept.v + i * 3 * wide;
        for (int k = 0; k < vectors; ++k) {
            Vec<N> sum = {};
            for (int a = 0; a < 3; ++a) {
                sum += at(v, a * vectors + k) * at(g, a * vectors + k);
                at(gv, a * vectors + k) += at(c, k) * at(g, a * vectors + k);
            }
            at(gc, k) = sum;
        }
    }
    multiply(block.atoms, space.gphi + block.first * 3 * wide, 3 * wide, y.phi_back, h, wide);
    for (int k = 0; k < block.atoms * vectors; ++k) at(h, k) *= at(kept.phi_slope + block.first * wide, k);
    multiply(block.atoms, h, wide, y.in_back, space.gs + block.first * wide, wide, true);
}

}  // namespace
