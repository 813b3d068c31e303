// Matrices of weights with their rows and columns padded to whole vectors, packed for products.
#pragma once
#include <vector>

#include "product.h"

namespace {

constexpr int padded_to(int count, int lanes) { return (count + lanes - 1) / lanes * lanes; }

// Rows and columns that come in blocks of `size`, each padded to `wide`.
struct Blocks {
    int count, size, wide;
    int whole() const { return count * size; }
    int padded() const { return count * wide; }
    int at(int n) const { return n / size * wide + n % size; }
};

inline std::vector<double> spread(const double* w, Blocks out, Blocks in, bool transposed) {
    std::vector<double> dense((size_t)out.padded() * in.padded(), 0.0);
    for (int n = 0; n < out.whole(); ++n)
        for (int k = 0; k < in.whole(); ++k) {
            const size_t row = out.at(n), column = in.at(k);
            dense[transposed ? column * out.padded() + row : row * in.padded() + column] = w[(size_t)n * in.whole() + k];
        }
    return dense;
}
inline std::vector<double> spread(const double* b, Blocks out) { return spread(b, out, {1, 1, 1}, false); }

template <class T> Matrix<T> forward(const double* w, const double* b, Blocks out, Blocks in) {
    return packed<T>(out.padded(), in.padded(), spread(w, out, in, false), b ? spread(b, out) : std::vector<double>());
}
template <class T> Matrix<T> backward(const double* w, Blocks out, Blocks in) {
    return packed<T>(in.padded(), out.padded(), spread(w, out, in, true), {});
}

}  // namespace
