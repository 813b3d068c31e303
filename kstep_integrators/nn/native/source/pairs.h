// Pairs of atoms within the cutoff: directions, distances, and the radial functions of these.
//
// All of it in double precision, and handed on in that of the network.
#pragma once
#include "neighbours.h"
#include "weights.h"

namespace {

constexpr double PI = 3.14159265358979323846;

// 1 - 35 u^4 + 84 u^5 - 70 u^6 + 20 u^7 of u = d / cutoff, and its derivative by d.
struct Envelope {
    double value, slope;
    Envelope(double d, double cutoff) {
        const double u = std::fmin(d / cutoff, 1.0), u2 = u * u, w = u * (1 - u);
        value = 1 - u2 * u2 * (35 - u * (84 - u * (70 - 20 * u)));
        slope = -140 * w * w * w / cutoff;
    }
};

// The distance that the backbone sees: constant for atoms closer than any it has learned from.
struct Seen {
    double value, slope;
    Seen(double d, double nearest, double stretch) : value(stretch * d), slope(stretch) {
        constexpr double width = 0.2;
        if (d >= nearest) return;
        const double t = std::fmin((1 - d / nearest) / width, 1.0), t2 = t * t;
        const double excess = t2 * t2 * t * (7 - t * (14 - t * (10 - 2.5 * t)));
        value = stretch * (std::fmax(d, (1 - width) * nearest) + width * nearest * excess);
        slope = t < 1 ? stretch * (1 - t2 * t2 * (35 - t * (84 - t * (70 - 20 * t)))) : 0.0;
    }
};

template <class T> struct Pairs {
    size_t count = 0, blocks = 0;
    std::vector<int32_t> i, j;
    Array<double> unit, distance, seen, slope;  // [pair][4] from i to j; slope: d seen / d distance
    Array<T> direction;                         // [pair][4]
    Array<T> basis, basis_slope;                // [block][radial + 1][BLOCK]
    Array<T> gradient;  // of the energy by what is seen and by the direction, [pair][4]

    void find(const std::vector<Candidate>& candidates, const double* x, const int32_t* species, const Cell& cell, const Weights<T>& w) {
        const size_t most = candidates.size() + BLOCK;
        double *u = unit.need(4 * most), *d = distance.need(most), *s = seen.need(most), *ds = slope.need(most);
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
            for (int a = 0; a < 3; ++a) u[4 * q + a] = v[a] / d[q];
            i.push_back(c.i);
            j.push_back(c.j);
            ++count;
        }
        blocks = (count + BLOCK - 1) / BLOCK;
        const size_t padded = blocks * BLOCK;
        for (size_t q = count; q < padded; ++q) {
            s[q] = 1;
            for (int a = 0; a < 3; ++a) u[4 * q + a] = 0;
        }
        T* t = direction.need(4 * padded);
        for (size_t n = 0; n < 4 * padded; ++n) t[n] = (T)u[n];
        std::memset(gradient.need(4 * padded), 0, 4 * padded * sizeof(T));
        radial(w);
    }

    size_t bytes() const {
        return unit.bytes() + distance.bytes() + seen.bytes() + slope.bytes() + direction.bytes() + basis.bytes() +
               basis_slope.bytes() + gradient.bytes() + (i.capacity() + j.capacity()) * sizeof(int32_t);
    }

  private:
    // sqrt(2 / rc) sin(n pi d / rc) / d times the envelope, and the envelope; with derivatives.
    // Sines and cosines of multiples by recurrence.
    void radial(const Weights<T>& w) {
        const int R = w.sizes.radial, K = R + 1;
        T *b = basis.need(blocks * K * BLOCK), *g = basis_slope.need(blocks * K * BLOCK);
        const double rc = w.sizes.cutoff, norm = std::sqrt(2 / rc), lowest = PI / rc;
        for (size_t n = 0; n < blocks; ++n, b += K * BLOCK, g += K * BLOCK) {
            double s0[BLOCK], s1[BLOCK], c0[BLOCK], c1[BLOCK], twice[BLOCK], inverse[BLOCK], cut[BLOCK], fall[BLOCK];
            for (int p = 0; p < BLOCK; ++p) {
                const double d = seen.data()[n * BLOCK + p];
                const Envelope e(d, rc);
                cut[p] = e.value;
                fall[p] = e.slope;
                inverse[p] = 1 / d;
                // About the middle of the range, where the series converge fastest.
                const double y = lowest * std::fmin(d, rc) - 0.5 * PI, y2 = y * y;
                double s = 1, c = 1;
                KSTEP_UNROLL for (int m = 10; m >= 1; --m) {
                    s = 1 - s * y2 * (1.0 / ((2 * m) * (2 * m + 1)));
                    c = 1 - c * y2 * (1.0 / ((2 * m - 1) * (2 * m)));
                }
                s0[p] = 0;
                s1[p] = c;
                c0[p] = 1;
                c1[p] = -s * y;
                twice[p] = 2 * c1[p];
            }
            for (int k = 0; k < R; ++k) {
                const double frequency = (k + 1) * lowest;
                for (int p = 0; p < BLOCK; ++p) {
                    const double f = norm * s1[p] * inverse[p], df = (norm * frequency * c1[p] - f) * inverse[p];
                    b[k * BLOCK + p] = (T)(f * cut[p]);
                    g[k * BLOCK + p] = (T)(df * cut[p] + f * fall[p]);
                    const double s2 = twice[p] * s1[p] - s0[p], c2 = twice[p] * c1[p] - c0[p];
                    s0[p] = s1[p];
                    s1[p] = s2;
                    c0[p] = c1[p];
                    c1[p] = c2;
                }
            }
            for (int p = 0; p < BLOCK; ++p) {
                b[R * BLOCK + p] = (T)cut[p];
                g[R * BLOCK + p] = (T)fall[p];
            }
        }
    }
};

}  // namespace
