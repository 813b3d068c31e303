// The objects behind the C interface, whatever precision they compute in.
#pragma once
#include <memory>

#include "average.h"

namespace {

struct Network {
    virtual ~Network() = default;
    virtual size_t bytes() const = 0;
};
template <class T> struct NetworkOf final : Network {
    Weights<T> weights;
    NetworkOf(const KStepSizes& sizes, const double* numbers) : weights(sizes, numbers) {}
    size_t bytes() const override { return weights.bytes(); }
};

struct System {
    virtual ~System() = default;
    virtual void forces(const double* linear, const double* x, int threads, double* energy, double* f) = 0;
    virtual void flow(const double* linear, const double* inverse_masses, const double* mobile, double timestep, int steps,
                      int threads, double* x, double* p, double* energy, double* f) = 0;
    virtual void hessian(const double* linear, const double* x, int count, const double* vectors, int threads, double* products) = 0;
    virtual void average(const double* linear, const double* rest, const double* rate, const double* weights, int first, int last,
                         int threads, double* path, double* mean) = 0;
    virtual void average_adjoint(const double* linear, const double* rate, const double* weights, const double* path, const double* g,
                                 int first, int last, int threads, double* ahead, double* after) = 0;
    virtual void functions(const double* x, int count, const int32_t* coordinates, int threads, double* sums, double* slopes) = 0;
    virtual size_t pairs() = 0;
    virtual size_t bytes() const = 0;
};

}  // namespace
