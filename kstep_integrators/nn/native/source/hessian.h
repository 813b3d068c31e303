// Hessians times vectors: derivatives of the forces along them, by passes of dual numbers.
#pragma once
#include "passes.h"

namespace {

// Derivatives of the forces on a pair's atoms, subtracted: `pair_forces` differentiated.
template <class T, int V>
void pair_products(const Molecule& m, const int32_t* species, const Weights<T>& w, const Pairs<Dual<T, V>>& pairs, double* const* products) {
    const size_t padded = pairs.blocks * BLOCK;
    for (int n = 0; n < V; ++n) std::memset(products[n], 0, 3 * m.atoms * sizeof(double));
    for (size_t q = 0; q < pairs.count; ++q) {
        const int i = pairs.i[q], j = pairs.j[q];
        const Dual<T, V>* g = pairs.gradient.data() + 4 * q;
        const double *u = pairs.unit.data() + 4 * q, d = pairs.distance.data()[q];
        const double slope = pairs.slope.data()[q], along = g[1].value * u[0] + g[2].value * u[1] + g[3].value * u[2];
        double pull = g[0].value * slope - along / d, curve = g[0].value * pairs.curve.data()[q] + along / (d * d);
        if (w.sizes.repulsion) {
            const Repulsion r(d, species[i], species[j], w);
            pull += r.slope;
            curve += r.curve;
        }
        for (int n = 0; n < V; ++n) {
            const double *turn = pairs.turns.data() + 4 * (n * padded + q), stretching = pairs.pulls.data()[n * padded + q];
            double pulling = g[0].along[n] * slope + curve * stretching;
            for (int a = 0; a < 3; ++a) pulling -= (g[1 + a].along[n] * u[a] + g[1 + a].value * turn[a]) / d;
            for (int a = 0; a < 3; ++a) {
                const double f = pulling * u[a] + pull * turn[a] + (g[1 + a].along[n] - g[1 + a].value * stretching / d) / d;
                products[n][3 * i + a] -= f;
                products[n][3 * j + a] += f;
            }
        }
    }
}

// Products (3 atoms, eV/angstrom^2 times the unit of the vectors) at x with `count` vectors, V of
// them at a time; not a number where forces are none. Arguments otherwise as of `energy_forces`.
template <class T, int V>
void hessian_times(Molecule& m, const int32_t* species, const double* x, const T* linear, const Weights<T>& w,
                   Workspace<Dual<T, V>>& space, int count, const double* const* vectors, double* const* products) {
    const size_t size = 3 * (size_t)m.atoms;
    if (!usable(m, x)) {
        for (int c = 0; c < count; ++c) std::fill(products[c], products[c] + size, std::numeric_limits<double>::quiet_NaN());
        return;
    }
    find_pairs(m, species, x, w, space);
    std::vector<double> nobody(V > 1 ? size : 0);  // products with the first vector again, where there are no more
    for (int c = 0; c < count; c += V) {
        const double* along[V];
        double* to[V];
        for (int n = 0; n < V; ++n) {
            along[n] = vectors[c + n < count ? c + n : c];
            to[n] = c + n < count ? products[c + n] : nobody.data();
        }
        space.pairs.move(along);
        gradients(m, species, linear, w, space);
        pair_products(m, species, w, space.pairs, to);
    }
}

}  // namespace
