// Pairs of atoms within the cutoff: directions, distances, and the radial functions of these.
//
// All of it in double precision, and handed on in that of the network.
#pragma once
#include "neighbours.h"
#include "radial.h"

namespace {

template <class N> struct Pairs {
    using T = Real<N>;
    size_t count = 0, blocks = 0;
    std::vector<int32_t> i, j;
    Array<double> unit, distance, seen, slope;  // [pair][4] from i to j; slope: d seen / d distance
    Array<double> curve, turns, pulls, rates;   // of dual numbers; see `move`
    Array<N> direction;                         // [pair][4]
    Array<N> basis, basis_slope;                // [block][radial + 1][BLOCK]
    Array<N> gradient;  // of the energy by what is seen and by the direction, [pair][4]

    // Those at x that matter, and where they lie.
    void find(const std::vector<Candidate>& candidates, const double* x, const int32_t* species, const Cell& cell, const Weights<T>& w) {
        const size_t most = candidates.size() + BLOCK;
        double *u = unit.need(4 * most), *d = distance.need(most), *s = seen.need(most), *ds = slope.need(most);
        double* dds = ALONG<N> ? curve.need(most) : nullptr;
        i.clear();
        j.clear();
        const double reach2 = w.reach * w.reach, cutoff = w.sizes.cutoff;
        const int S = w.sizes.species;
        count = 0;
        for (const Candidate& c : candidates) {
            double v[3];
            for (int a = 0; a < 3; ++a) v[a] = x[3 * c.j + a] - x[3 * c.i + a];
            if (cell.any())
                for (int a = 0; a < 3; ++a)
                    for (int k = 0; k < 3; ++k) v[a] += c.image[k] * cell.vectors[3 * k + a];
            const double d2 = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
            if (!(d2 < reach2)) continue;
            const size_t q = count;
            const int kinds = species[c.i] * S + species[c.j];
            d[q] = std::sqrt(d2);
            const Seen sees(d[q], w.nearest[kinds], w.stretch[kinds]);
            if (!(sees.value < cutoff) && !(w.sizes.repulsion && d[q] < w.radius[kinds])) continue;
            s[q] = sees.value;
            ds[q] = sees.slope;
            if (ALONG<N>) dds[q] = sees.curve;
            for (int a = 0; a < 3; ++a) u[4 * q + a] = v[a] / d[q];
            i.push_back(c.i);
            j.push_back(c.j);
            ++count;
        }
        blocks = (count + BLOCK - 1) / BLOCK;
        for (size_t q = count; q < blocks * BLOCK; ++q) {
            s[q] = 1;
            for (int a = 0; a < 3; ++a) u[4 * q + a] = 0;
        }
    }

    // What the passes read of them, and no gradients yet.
    void prepare(const Weights<T>& w) {
        const size_t padded = blocks * BLOCK, K = w.sizes.radial + 1;
        N* to = direction.need(4 * padded);
        if constexpr (ALONG<N> == 0) {
            for (size_t n = 0; n < 4 * padded; ++n) to[n] = (T)unit.data()[n];
        } else {
            for (size_t n = 0; n < 4 * padded; ++n) {
                to[n].value = (T)unit.data()[n];
                for (int v = 0; v < ALONG<N>; ++v) to[n].along[v] = (T)turns.data()[v * 4 * padded + n];
            }
        }
        std::memset(gradient.need(4 * padded), 0, 4 * padded * sizeof(N));
        radial_functions(blocks, w.sizes.radial, w.sizes.cutoff, seen.data(), rates.data(), basis.need(blocks * K * BLOCK),
                         basis_slope.need(blocks * K * BLOCK));
    }

    // Rates of all of it while atoms move along directions, each of 3 atoms: of unit vectors
    // ([directions][pair][4]), of distances ([directions][pair]), and of what is seen of these.
    void move(const double* const* along) {
        const size_t padded = blocks * BLOCK;
        double *turn = turns.need(ALONG<N> * 4 * padded), *pull = pulls.need(ALONG<N> * padded), *rate = rates.need(ALONG<N> * padded);
        std::memset(turn, 0, ALONG<N> * 4 * padded * sizeof(double));
        std::memset(rate, 0, ALONG<N> * padded * sizeof(double));
        for (int n = 0; n < ALONG<N>; ++n)
            for (size_t q = 0; q < count; ++q) {
                const double *u = unit.data() + 4 * q, *v = along[n];
                double by[3];
                for (int a = 0; a < 3; ++a) by[a] = v[3 * j[q] + a] - v[3 * i[q] + a];
                const double stretching = by[0] * u[0] + by[1] * u[1] + by[2] * u[2];
                pull[n * padded + q] = stretching;
                rate[(q / BLOCK * ALONG<N> + n) * BLOCK + q % BLOCK] = slope.data()[q] * stretching;
                for (int a = 0; a < 3; ++a) turn[(n * padded + q) * 4 + a] = (by[a] - stretching * u[a]) / distance.data()[q];
            }
    }

    size_t bytes() const {
        size_t sum = (i.capacity() + j.capacity()) * sizeof(int32_t);
        for (const auto* a : {&unit, &distance, &seen, &slope, &curve, &turns, &pulls, &rates}) sum += a->bytes();
        for (const auto* a : {&direction, &basis, &basis_slope, &gradient}) sum += a->bytes();
        return sum;
    }
};

}  // namespace
