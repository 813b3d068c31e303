// Energies of atoms from what they are after the layers, with gradients.
#pragma once
#include "layer.h"

namespace {

// The readout of the last layer's scalars; gradients by these are written.
template <class N> double readout(Block block, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.wide, hidden = w.readout_wide, vectors = hidden / LANES<N>;
    N* h = space.h.data();
    multiply(block.atoms, space.s + block.first * wide, wide, w.readout, h, hidden);
    double energy = block.atoms * w.last_bias;
    const Real<N> scale = (Real<N>)w.sizes.scale;
    for (int n = 0; n < block.atoms; ++n) {
        Vec<N> sum = {};
        for (int k = 0; k < vectors; ++k) {
            Vec<N> y = at(h + n * hidden, k);
            const Vec<N> slope = silu(y);
            const Vec<Real<N>> weight = at(w.last.data(), k);
            sum += weight * y;
            at(h + n * hidden, k) = scale * weight * slope;
        }
        energy += total<Real<N>>(value_of(sum));
    }
    multiply(block.atoms, h, hidden, w.readout_back, space.gs + block.first * wide, wide);
    return energy * w.sizes.scale;
}

// Cosines of all invariants, weighted by element; gradients by the invariants are written.
template <class N>
double linear_readout(Block block, const int32_t* species, const Real<N>* weights, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.functions_wide, vectors = wide / LANES<N>;
    N* h = space.functions.data();
    multiply(block.atoms, space.invariants.data() + block.first * w.invariants, w.invariants, w.directions, h, wide);
    double energy = 0;
    const Real<N> amplitude = (Real<N>)w.sizes.amplitude;
    for (int n = 0; n < block.atoms; ++n) {
        const Real<N>* mine = weights + (size_t)species[block.first + n] * wide;
        Vec<N> sum = {};
        for (int k = 0; k < vectors; ++k) {
            Vec<N> sine, cosine;
            sine_cosine(at(h + n * wide, k), sine, cosine);
            sum += at(mine, k) * cosine;
            at(h + n * wide, k) = -amplitude * at(mine, k) * sine;
        }
        energy += total<Real<N>>(value_of(sum));
    }
    multiply(block.atoms, h, wide, w.directions_back, space.ginvariants.data() + block.first * w.invariants, w.invariants);
    return energy * w.sizes.amplitude;
}

// The functions of a linear readout, summed over the atoms of each element, [species][functions]; of
// dual numbers, their derivatives along each direction.
template <class N>
void sum_functions(Block block, const int32_t* species, const Weights<Real<N>>& w, Workspace<N>& space, double* const* sums) {
    const int wide = w.functions_wide, lanes = LANES<N>;
    N* h = space.functions.data();
    multiply(block.atoms, space.invariants.data() + block.first * w.invariants, w.invariants, w.directions, h, wide);
    for (int n = 0; n < block.atoms; ++n) {
        const size_t row = (size_t)species[block.first + n] * w.sizes.functions;
        for (int k = 0; k < wide / lanes; ++k) {
            Vec<N> sine, cosine;
            sine_cosine(at(h + n * wide, k), sine, cosine);
            auto add = [&](const Vec<Real<N>>& part, double* to) {
                for (int e = 0; e < lanes && k * lanes + e < w.sizes.functions; ++e) to[row + k * lanes + e] += w.sizes.amplitude * part[e];
            };
            if constexpr (ALONG<N> == 0) {
                add(cosine, sums[0]);
            } else {
                for (int v = 0; v < ALONG<N>; ++v) add(cosine.along[v], sums[v]);
            }
        }
    }
}

}  // namespace
