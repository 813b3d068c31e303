// Dual numbers: a value and its derivatives along V directions, in vectors of registers.
//
// Forward differentiation (Griewank, Walther (2008), doi:10.1137/1.9780898717761, ch. 3): the
// passes written for numbers compute with these the derivatives of all that they compute. In an
// array the lanes of the values of a vector are followed by those of its derivatives.
#pragma once
#include "simd.h"

namespace {

// One of them, by itself.
template <class T, int V> struct Dual {
    T value, along[V];
};

template <class T, int V> struct __attribute__((may_alias)) DualVector {
    using Values = Vec<T>;
    Values value, along[V];

    KSTEP_INLINE DualVector() : value{}, along{} {}
    KSTEP_INLINE DualVector(Values constant) : value(constant), along{} {}
    KSTEP_INLINE DualVector(const DualVector& o) { *this = o; }
    KSTEP_INLINE DualVector& operator=(const DualVector& o) {
        value = o.value;
        KSTEP_UNROLL for (int n = 0; n < V; ++n) along[n] = o.along[n];
        return *this;
    }

    KSTEP_INLINE Values part(int n) const { return n ? along[n ? n - 1 : 0] : value; }
    // A function's value, and its derivative where it is.
    KSTEP_INLINE static DualVector chain(Values value, Values slope, const DualVector& x) {
        DualVector made(value);
        KSTEP_UNROLL for (int n = 0; n < V; ++n) made.along[n] = slope * x.along[n];
        return made;
    }
    friend KSTEP_INLINE DualVector operator+(const DualVector& a, const DualVector& b) {
        DualVector sum(a.value + b.value);
        KSTEP_UNROLL for (int n = 0; n < V; ++n) sum.along[n] = a.along[n] + b.along[n];
        return sum;
    }
    friend KSTEP_INLINE DualVector operator-(const DualVector& a, const DualVector& b) {
        DualVector rest(a.value - b.value);
        KSTEP_UNROLL for (int n = 0; n < V; ++n) rest.along[n] = a.along[n] - b.along[n];
        return rest;
    }
    friend KSTEP_INLINE DualVector operator*(const DualVector& a, const DualVector& b) {
        DualVector product(a.value * b.value);
        KSTEP_UNROLL for (int n = 0; n < V; ++n) product.along[n] = a.along[n] * b.value + a.value * b.along[n];
        return product;
    }
    friend KSTEP_INLINE DualVector operator*(Values a, const DualVector& b) { return chain(a * b.value, a, b); }
    friend KSTEP_INLINE DualVector operator/(const DualVector& a, const DualVector& b) {
        const Values inverse = (T)1 / b.value;
        DualVector ratio(a.value * inverse);
        KSTEP_UNROLL for (int n = 0; n < V; ++n) ratio.along[n] = (a.along[n] - ratio.value * b.along[n]) * inverse;
        return ratio;
    }
    KSTEP_INLINE DualVector& operator+=(const DualVector& b) { return *this = *this + b; }
    KSTEP_INLINE DualVector& operator-=(const DualVector& b) { return *this = *this - b; }
    KSTEP_INLINE DualVector& operator*=(const DualVector& b) { return *this = *this * b; }
};

template <class T, int V> struct Registers<Dual<T, V>> {
    using Vector = DualVector<T, V>;
};
template <class T, int V> constexpr int LANES<Dual<T, V>> = LANES<T>;

// The numbers that an array is made of, and how many directions it has derivatives along.
template <class N> struct Kind {
    using Real = N;
    static constexpr int along = 0;
};
template <class T, int V> struct Kind<Dual<T, V>> {
    using Real = T;
    static constexpr int along = V;
};
template <class N> using Real = typename Kind<N>::Real;
template <class N> constexpr int ALONG = Kind<N>::along;

KSTEP_INLINE Vec<float> value_of(Vec<float> x) { return x; }
KSTEP_INLINE Vec<double> value_of(Vec<double> x) { return x; }
template <class T, int V> KSTEP_INLINE Vec<T> value_of(const DualVector<T, V>& x) { return x.value; }

template <class T, int V> KSTEP_INLINE DualVector<T, V> splat(const Dual<T, V>& x) {
    DualVector<T, V> all(splat<T>(x.value));
    KSTEP_UNROLL for (int n = 0; n < V; ++n) all.along[n] = splat<T>(x.along[n]);
    return all;
}
template <class T, int V> KSTEP_INLINE DualVector<T, V> root(const DualVector<T, V>& x) {
    const Vec<T> r = root(x.value);
    return DualVector<T, V>::chain(r, (T)0.5 / r, x);
}
template <class T, int V>
KSTEP_INLINE void sine_cosine(const DualVector<T, V>& x, DualVector<T, V>& sine, DualVector<T, V>& cosine) {
    Vec<T> s, c;
    sine_cosine(x.value, s, c);
    sine = DualVector<T, V>::chain(s, c, x);
    cosine = DualVector<T, V>::chain(c, -s, x);
}
template <class T, int V> KSTEP_INLINE DualVector<T, V> silu(DualVector<T, V>& x) {
    const Vec<T> y = x.value, s = (T)1 / ((T)1 + exponential<T>(-y)), rest = (T)1 - s, slope = s + y * s * rest;
    const DualVector<T, V> slopes = DualVector<T, V>::chain(slope, s * rest * ((T)2 + y * (rest - s)), x);
    x = DualVector<T, V>::chain(y * s, slope, x);
    return slopes;
}

}  // namespace
