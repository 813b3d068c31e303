// The radial functions of pairs, with derivatives, blocks of pairs at a time.
#pragma once
#include "cutoffs.h"

namespace {

constexpr double PI = 3.14159265358979323846;

// Number k of each of a block's pairs: its value and, of dual numbers, its derivative by the
// distance times the rates of these, [directions][BLOCK]. Rows of the parts of [k][part][BLOCK].
template <class N> KSTEP_INLINE void put(N* block, int k, int p, double value, double slope, const double* rates) {
    using T = Real<N>;
    T* to = reinterpret_cast<T*>(block) + k * (1 + ALONG<N>) * BLOCK + p;
    to[0] = (T)value;
    KSTEP_UNROLL for (int n = 0; n < ALONG<N>; ++n) to[(1 + n) * BLOCK] = (T)(slope * rates[n * BLOCK + p]);
}

// sqrt(2 / rc) sin(n pi d / rc) / d times the envelope, and the envelope; with derivatives.
// Sines and cosines of multiples by recurrence. `rates`: [block][directions][BLOCK].
template <class N>
void radial_functions(size_t blocks, int count, double rc, const double* distances, const double* rates, N* basis, N* slopes) {
    const int K = count + 1;
    const double norm = std::sqrt(2 / rc), lowest = PI / rc;
    for (size_t n = 0; n < blocks; ++n) {
        N *b = basis + n * K * BLOCK, *g = slopes + n * K * BLOCK;
        const double* rate = rates + n * ALONG<N> * BLOCK;
        double s0[BLOCK], s1[BLOCK], c0[BLOCK], c1[BLOCK], twice[BLOCK], inverse[BLOCK], cut[BLOCK], fall[BLOCK], bend[BLOCK];
        for (int p = 0; p < BLOCK; ++p) {
            const double d = distances[n * BLOCK + p];
            const Envelope e(d, rc);
            cut[p] = e.value;
            fall[p] = e.slope;
            bend[p] = e.curve;
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
        for (int k = 0; k < count; ++k) {
            const double frequency = (k + 1) * lowest;
            for (int p = 0; p < BLOCK; ++p) {
                const double f = norm * s1[p] * inverse[p], df = (norm * frequency * c1[p] - f) * inverse[p];
                const double slope = df * cut[p] + f * fall[p];
                double curve = 0;
                if constexpr (ALONG<N> > 0) {
                    const double ddf = -frequency * frequency * f - 2 * df * inverse[p];
                    curve = ddf * cut[p] + 2 * df * fall[p] + f * bend[p];
                }
                put(b, k, p, f * cut[p], slope, rate);
                put(g, k, p, slope, curve, rate);
                const double s2 = twice[p] * s1[p] - s0[p], c2 = twice[p] * c1[p] - c0[p];
                s0[p] = s1[p];
                s1[p] = s2;
                c0[p] = c1[p];
                c1[p] = c2;
            }
        }
        for (int p = 0; p < BLOCK; ++p) {
            put(b, count, p, cut[p], fall[p], rate);
            put(g, count, p, fall[p], bend[p], rate);
        }
    }
}

}  // namespace
