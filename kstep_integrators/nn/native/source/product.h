// Products of a few rows with a matrix of weights that is packed once.
//
// The matrix lies in panels, [panel][input][vectors of the panel]; a block of rows times a panel
// stays in registers while the inputs are run through.
#pragma once
#include <vector>

#include "memory.h"
#include "dual.h"

namespace {

constexpr int BLOCK = 12;  // pairs that are treated together; the other layout of the rows

// Vectors of the widest panel, and rows that fit into the registers beside one of W.
constexpr int WIDEST = KSTEP_REGISTERS == 32 ? 4 : 2;
constexpr int rows_beside(int width) {
    const int fit = (KSTEP_REGISTERS - width - 1) / width;
    return fit > 12 ? 12 : fit;
}

template <class T> struct Matrix {
    int outputs = 0, inputs = 0;  // padded
    Array<T> panels, bias;
    bool biased = false;
};

// dense[outputs][inputs], with outputs a multiple of the lanes; bias may be empty.
template <class T>
Matrix<T> packed(int outputs, int inputs, const std::vector<double>& dense, const std::vector<double>& bias) {
    Matrix<T> m;
    m.outputs = outputs;
    m.inputs = inputs;
    m.biased = !bias.empty();
    T* to = m.panels.need((size_t)outputs * inputs);
    const int vectors = outputs / LANES<T>, panels = (vectors + WIDEST - 1) / WIDEST;
    for (int p = 0, v = 0; p < panels; ++p) {
        const int wide = (vectors - v) / (panels - p) * LANES<T>, first = v * LANES<T>;
        for (int k = 0; k < inputs; ++k)
            for (int n = 0; n < wide; ++n) *to++ = (T)dense[(size_t)(first + n) * inputs + k];
        v += wide / LANES<T>;
    }
    if (m.biased) {
        T* b = m.bias.need(outputs);
        for (int n = 0; n < outputs; ++n) b[n] = (T)bias[n];
    }
    return m;
}

// M rows times one panel of W vectors. Input k of row m is a[m * row + k * step], and after each
// vector of inputs come `between` numbers of others; vectors of results are `apart` of them apart.
template <class T, int W, int M>
KSTEP_INLINE void tile(int inputs, const T* a, long row, long step, long between, const T* w, const T* bias, T* c, long wide,
                       int apart, bool add) {
    Vec<T> sum[M][W];
    KSTEP_UNROLL for (int m = 0; m < M; ++m) KSTEP_UNROLL for (int n = 0; n < W; ++n) {
        sum[m][n] = bias ? at(bias, n) : Vec<T>{};
        if (add) sum[m][n] += at(c + m * wide, n * apart);
    }
    for (int k = 0; k < inputs; ++k) {
        Vec<T> b[W];
        KSTEP_UNROLL for (int n = 0; n < W; ++n) b[n] = at(w + (long)k * W * LANES<T>, n);
        KSTEP_UNROLL for (int m = 0; m < M; ++m) {
            const Vec<T> x = splat<T>(a[m * row + k * step + k / LANES<T> * between]);
            KSTEP_UNROLL for (int n = 0; n < W; ++n) sum[m][n] += x * b[n];
        }
    }
    KSTEP_UNROLL for (int m = 0; m < M; ++m) KSTEP_UNROLL for (int n = 0; n < W; ++n)
        at(c + m * wide, n * apart) = sum[m][n];
}

template <class T, int W, int M>
void tiles(int rows, int inputs, const T* a, long row, long step, const T* w, const T* bias, T* c, long wide, int parts, bool add) {
    if (rows == M) {
        const long between = row == 1 ? 0 : (parts - 1) * LANES<T>;
        if (parts > 1) tile<T, W, M>(inputs, a, row, step, between, w, bias, c, wide, parts, add);
        else if (row == 1) tile<T, W, M>(inputs, a, 1, BLOCK, 0, w, bias, c, wide, 1, add);
        else tile<T, W, M>(inputs, a, row, 1, 0, w, bias, c, wide, 1, add);
    } else if constexpr (M > 1) {
        tiles<T, W, M - 1>(rows, inputs, a, row, step, w, bias, c, wide, parts, add);
    }
}

template <class T, int W>
void panel(int rows, int inputs, const T* a, long row, long step, const T* w, const T* bias, T* c, long wide, int parts, bool add) {
    constexpr int most = rows_beside(W);
    const int blocks = (rows + most - 1) / most;
    for (int b = 0, m = 0; b < blocks; ++b) {
        const int size = (rows - m) / (blocks - b);
        tiles<T, W, most>(size, inputs, a + m * row, row, step, w, bias, c + m * wide, wide, parts, add);
        m += size;
    }
}

// c = rows of a times the matrix, plus its bias; or added to c, without the bias. Rows begin `row`
// numbers apart, or, where that is 1, they are columns of a block of pairs. Of dual numbers each
// part is multiplied by itself.
template <class N>
void multiply(int rows, const N* a, long row, const Matrix<Real<N>>& m, N* c, long wide, bool add = false) {
    using T = Real<N>;
    constexpr int parts = 1 + ALONG<N>;
    const bool columns = row == 1;
    const long step = columns ? parts * BLOCK : 1, rise = columns ? 1 : parts * row, next = columns ? BLOCK : LANES<T>;
    const int vectors = m.outputs / LANES<T>, panels = (vectors + WIDEST - 1) / WIDEST;
    for (int p = 0, v = 0; p < panels; ++p) {
        const int width = (vectors - v) / (panels - p);
        const T* w = m.panels.data() + (size_t)v * LANES<T> * m.inputs;
        for (int part = 0; part < parts; ++part) {
            const T *from = reinterpret_cast<const T*>(a) + part * next, *bias = m.biased && !add && !part ? m.bias.data() + v * LANES<T> : nullptr;
            T* to = reinterpret_cast<T*>(c) + (long)(v * parts + part) * LANES<T>;
            if constexpr (WIDEST == 4) {
                if (width == 4) panel<T, 4>(rows, m.inputs, from, rise, step, w, bias, to, parts * wide, parts, add);
                if (width == 3) panel<T, 3>(rows, m.inputs, from, rise, step, w, bias, to, parts * wide, parts, add);
            }
            if (width == 2) panel<T, 2>(rows, m.inputs, from, rise, step, w, bias, to, parts * wide, parts, add);
            if (width == 1) panel<T, 1>(rows, m.inputs, from, rise, step, w, bias, to, parts * wide, parts, add);
        }
        v += width;
    }
}

}  // namespace
