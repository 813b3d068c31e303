// Vectors of the widest registers that the compiler's target has, and functions of them.
//
// GCC's and Clang's vector extensions: one source for SSE2, AVX2, AVX-512 and NEON. Numbers that
// are not finite pass through every function here as they would through the C library.
#pragma once
#include <cmath>
#include <cstdint>

#if defined(__AVX512F__)
#define KSTEP_BYTES 64
#define KSTEP_REGISTERS 32
#elif defined(__AVX__)
#define KSTEP_BYTES 32
#define KSTEP_REGISTERS 16
#elif defined(__aarch64__)
#define KSTEP_BYTES 16
#define KSTEP_REGISTERS 32
#else
#define KSTEP_BYTES 16
#define KSTEP_REGISTERS 16
#endif
#define KSTEP_UNROLL _Pragma("GCC unroll 16")
#define KSTEP_INLINE inline __attribute__((always_inline))

namespace {

template <class T> struct Registers;
template <> struct Registers<float> {
    typedef float Vector __attribute__((vector_size(KSTEP_BYTES), may_alias));
    typedef int32_t Integers __attribute__((vector_size(KSTEP_BYTES), may_alias));
};
template <> struct Registers<double> {
    typedef double Vector __attribute__((vector_size(KSTEP_BYTES), may_alias));
    typedef int64_t Integers __attribute__((vector_size(KSTEP_BYTES), may_alias));
};
template <class T> using Vec = typename Registers<T>::Vector;
template <class T> using Ints = typename Registers<T>::Integers;
template <class T> constexpr int LANES = KSTEP_BYTES / sizeof(T);

// The k-th vector of an aligned row.
template <class T> KSTEP_INLINE Vec<T>& at(T* row, int k) {
    return *reinterpret_cast<Vec<T>*>(row + k * LANES<T>);
}
template <class T> KSTEP_INLINE const Vec<T>& at(const T* row, int k) {
    return *reinterpret_cast<const Vec<T>*>(row + k * LANES<T>);
}
template <class T> KSTEP_INLINE Vec<T> splat(T x) { return Vec<T>{} + x; }

template <class T> KSTEP_INLINE double total(Vec<T> v) {
    double sum = 0;
    for (int e = 0; e < LANES<T>; ++e) sum += v[e];
    return sum;
}

template <class T> KSTEP_INLINE Vec<T> root_of(Vec<T> v) {
    alignas(64) T each[LANES<T>];
    *reinterpret_cast<Vec<T>*>(each) = v;
    for (int e = 0; e < LANES<T>; ++e) each[e] = std::sqrt(each[e]);
    return *reinterpret_cast<Vec<T>*>(each);
}
KSTEP_INLINE Vec<float> root(Vec<float> v) { return root_of<float>(v); }
KSTEP_INLINE Vec<double> root(Vec<double> v) { return root_of<double>(v); }

// c[0] x^n + c[1] x^(n-1) + ... + c[n]
template <class T, int N> KSTEP_INLINE Vec<T> polynomial(Vec<T> x, const T (&c)[N]) {
    Vec<T> sum = splat<T>(c[0]);
    KSTEP_UNROLL for (int n = 1; n < N; ++n) sum = sum * x + c[n];
    return sum;
}

// Nearest whole number, for |x| below 2^21.
KSTEP_INLINE Vec<float> nearest_whole(Vec<float> x) { return (x + 12582912.0f) - 12582912.0f; }
KSTEP_INLINE Vec<double> nearest_whole(Vec<double> x) {
    return (x + 6755399441055744.0) - 6755399441055744.0;
}

// Powers of two, 2^k, by the bits of the exponent.
KSTEP_INLINE Vec<float> power_of_two(Vec<float> k) {
    return (Vec<float>)((__builtin_convertvector(k, Ints<float>) + 127) << 23);
}
KSTEP_INLINE Vec<double> power_of_two(Vec<double> k) {
    return (Vec<double>)((__builtin_convertvector(k, Ints<double>) + 1023) << 52);
}

// Taylor coefficients, and the parts of ln 2 and pi / 2 for reductions without loss.
template <class T> struct Series;
template <> struct Series<float> {
    static constexpr float largest = 80, ln2[2] = {0.693359375f, -2.12194440e-4f},
        quarter[3] = {1.5703125f, 4.837512969970703e-4f, 7.549789948768648e-8f},
        exponential[8] = {1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1, 1},
        sine[5] = {1.f / 362880, -1.f / 5040, 1.f / 120, -1.f / 6, 1},
        cosine[6] = {-1.f / 3628800, 1.f / 40320, -1.f / 720, 1.f / 24, -0.5f, 1};
};
template <> struct Series<double> {
    static constexpr double largest = 300, ln2[2] = {6.93145751953125e-1, 1.42860682030941723212e-6},
        quarter[3] = {1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21},
        exponential[14] = {1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880,
            1. / 40320, 1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 0.5, 1, 1},
        sine[9] = {1. / 355687428096000, -1. / 1307674368000, 1. / 6227020800, -1. / 39916800,
            1. / 362880, -1. / 5040, 1. / 120, -1. / 6, 1},
        cosine[9] = {1. / 20922789888000, -1. / 87178291200, 1. / 479001600, -1. / 3628800, 1. / 40320,
            -1. / 720, 1. / 24, -0.5, 1};
};

template <class T> KSTEP_INLINE Vec<T> exponential(Vec<T> x) {
    const Vec<T> most = splat<T>(Series<T>::largest);
    x = x < -most ? -most : x;
    x = x > most ? most : x;
    const Vec<T> k = nearest_whole(x * (T)1.4426950408889634);
    const Vec<T> r = x - k * Series<T>::ln2[0] - k * Series<T>::ln2[1];
    return polynomial<T>(r, Series<T>::exponential) * power_of_two(k);
}

// Sine and cosine of |x| up to some thousands.
template <class T> KSTEP_INLINE void sine_cosine_of(Vec<T> x, Vec<T>& sine, Vec<T>& cosine) {
    const Vec<T> k = nearest_whole(x * (T)0.6366197723675814);
    const Vec<T> r = ((x - k * Series<T>::quarter[0]) - k * Series<T>::quarter[1]) - k * Series<T>::quarter[2];
    const Vec<T> r2 = r * r, s = r * polynomial<T>(r2, Series<T>::sine), c = polynomial<T>(r2, Series<T>::cosine);
    const Ints<T> quadrant = __builtin_convertvector(k, Ints<T>);
    const Vec<T> a = (quadrant & 1) != 0 ? c : s, b = (quadrant & 1) != 0 ? s : c;
    sine = (quadrant & 2) != 0 ? -a : a;
    cosine = ((quadrant + 1) & 2) != 0 ? -b : b;
}
KSTEP_INLINE void sine_cosine(Vec<float> x, Vec<float>& s, Vec<float>& c) { sine_cosine_of<float>(x, s, c); }
KSTEP_INLINE void sine_cosine(Vec<double> x, Vec<double>& s, Vec<double>& c) { sine_cosine_of<double>(x, s, c); }

// x becomes x / (1 + exp(-x)); returns the derivative.
template <class T> KSTEP_INLINE Vec<T> silu_of(Vec<T>& x) {
    const Vec<T> y = x, s = (T)1 / ((T)1 + exponential<T>(-y));
    x = y * s;
    return s + y * s * ((T)1 - s);
}
KSTEP_INLINE Vec<float> silu(Vec<float>& x) { return silu_of<float>(x); }
KSTEP_INLINE Vec<double> silu(Vec<double>& x) { return silu_of<double>(x); }

}  // namespace
