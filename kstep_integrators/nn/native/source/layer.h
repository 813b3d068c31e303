// One layer for a block of atoms: what they send, and how they mix what has come, forward.
//
// Schuett, Unke, Gastegger (2021), doi:10.48550/arXiv.2102.03150, equations 7 to 10.
#pragma once
#include "messages.h"

namespace {

// Rows of atoms from `first` on.
struct Block {
    size_t first;
    int atoms;
};

template <class Work> void in_blocks(int n, Work work) {
    for (int first = 0; first < n; first += ATOMS) work(Block{(size_t)first, std::min(ATOMS, n - first)});
}

// Rows of scalars after a layer: in the next layer's `x`, or by themselves after the last.
template <class N> struct Scalars {
    N* rows;
    int apart;
};
template <class N> Scalars<N> scalars_after(int layer, const Weights<Real<N>>& w, Workspace<N>& space) {
    if (layer + 1 < w.sizes.layers) return {space.layers[layer + 1].x, 2 * w.wide};
    return {space.s, w.wide};
}
template <class N> N* vectors_after(int layer, const Weights<Real<N>>& w, Workspace<N>& space) {
    return layer + 1 < w.sizes.layers ? space.layers[layer + 1].v : space.v;
}
// Whether a layer changes vectors that somebody reads.
template <class T> bool makes_vectors(int layer, const Weights<T>& w) {
    return layer + 1 < w.sizes.layers || w.sizes.functions;
}

// Embedded atoms, and what the first layer sends.
template <class N> void embed(int n, const int32_t* species, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.wide, vectors = wide / LANES<N>;
    const Kept<N>& kept = space.layers[0];
    for (size_t i = 0; i < (size_t)n; ++i) {
        const Real<N> *embedded = w.embedding.data() + species[i] * wide, *first = w.first.data() + species[i] * 2 * wide;
        for (int k = 0; k < vectors; ++k) at(kept.x + i * 2 * wide, k) = at(embedded, k);
        for (int k = 0; k < 2 * vectors; ++k) at(kept.phi + i * 2 * wide, k) = at(first, k);
    }
    std::memset(vectors_after(0, w, space), 0, (size_t)n * 3 * wide * sizeof(N));
}

// What atoms send in a later layer, and c times their vectors.
template <class N> void prepare_messages(int layer, Block block, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.wide, vectors = wide / LANES<N>;
    const LayerWeights<Real<N>>& y = w.layers[layer];
    const Kept<N>& kept = space.layers[layer];
    N *h = space.h.data(), *slope = kept.phi_slope + block.first * wide;
    multiply(block.atoms, kept.x + block.first * 2 * wide, 2 * wide, y.in, h, wide);
    for (int k = 0; k < block.atoms * vectors; ++k) at(slope, k) = silu(at(h, k));
    multiply(block.atoms, h, wide, y.phi, kept.phi + block.first * 3 * wide, 3 * wide);
    N* out = vectors_after(layer, w, space);
    for (size_t i = block.first; i < block.first + block.atoms; ++i) {
        const N *c = kept.phi + i * 3 * wide + 2 * wide, *v = kept.v + i * 3 * wide;
        for (int a = 0; a < 3; ++a)
            for (int k = 0; k < vectors; ++k) at(kept.cv + i * 3 * wide, a * vectors + k) = at(c, k) * at(v, a * vectors + k);
        std::memcpy(out + i * 3 * wide, v, 3 * wide * sizeof(N));
    }
}

// Scalars and vectors of each atom mixed with each other.
template <class N> void update(int layer, Block block, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.wide, vectors = wide / LANES<N>;
    const bool makes = makes_vectors(layer, w);
    const int made = makes ? 3 : 2;
    const LayerWeights<Real<N>>& y = w.layers[layer];
    const Kept<N>& kept = space.layers[layer];
    N *v = vectors_after(layer, w, space), *h = space.h.data(), *slope = kept.hidden_slope + block.first * wide;
    multiply(3 * block.atoms, v + block.first * 3 * wide, wide, y.mix, kept.lr + block.first * 6 * wide, 2 * wide);
    for (size_t i = block.first; i < block.first + block.atoms; ++i) {
        const N* lr = kept.lr + i * 6 * wide;
        for (int k = 0; k < vectors; ++k) {
            Vec<N> dot = {}, square = splat<Real<N>>(1e-8);
            KSTEP_UNROLL for (int a = 0; a < 3; ++a) {
                const Vec<N> left = at(lr, 2 * a * vectors + k), right = at(lr, (2 * a + 1) * vectors + k);
                dot += left * right;
                square += right * right;
            }
            at(kept.dot + i * wide, k) = dot;
            at(kept.x + i * 2 * wide, vectors + k) = root(square);
        }
    }
    multiply(block.atoms, kept.x + block.first * 2 * wide, 2 * wide, y.hidden, h, wide);
    for (int k = 0; k < block.atoms * vectors; ++k) at(slope, k) = silu(at(h, k));
    multiply(block.atoms, h, wide, y.out, kept.out + block.first * made * wide, made * wide);
    const Scalars<N> after = scalars_after(layer, w, space);
    for (size_t i = block.first; i < block.first + block.atoms; ++i) {
        const N *x = kept.x + i * 2 * wide, *out = kept.out + i * made * wide, *lr = kept.lr + i * 6 * wide;
        for (int k = 0; k < vectors; ++k) {
            at(after.rows + i * after.apart, k) = at(x, k) + at(out, k) + at(out, vectors + k) * at(kept.dot + i * wide, k);
            if (makes)
                for (int a = 0; a < 3; ++a) at(v + i * 3 * wide, a * vectors + k) += at(out, 2 * vectors + k) * at(lr, 2 * a * vectors + k);
        }
    }
}

// Invariants after a layer, for a linear readout: norms of the vectors, and scalars.
template <class N> void keep_invariants(int layer, int n, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.wide, vectors = wide / LANES<N>;
    const Scalars<N> after = scalars_after(layer, w, space);
    const N* v = vectors_after(layer, w, space);
    for (size_t i = 0; i < (size_t)n; ++i) {
        N* to = space.invariants.data() + i * w.invariants + 2 * layer * wide;
        for (int k = 0; k < vectors; ++k) {
            Vec<N> square = splat<Real<N>>(1e-8);
            for (int a = 0; a < 3; ++a) square += at(v + i * 3 * wide, a * vectors + k) * at(v + i * 3 * wide, a * vectors + k);
            at(to, k) = root(square);
            at(to, vectors + k) = at(after.rows + i * after.apart, k);
        }
    }
}

}  // namespace
