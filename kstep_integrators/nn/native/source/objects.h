// The objects behind the C interface, whatever precision they compute in.
#pragma once
#include <memory>

#include "passes.h"

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
    virtual void hessian(const double* linear, const double* x, double displacement, int count, const double* vectors,
                         int threads, double* products) = 0;
    virtual void functions(const double* x, double displacement, double* sums, double* slopes) = 0;
    virtual size_t pairs() const = 0;
    virtual size_t bytes() const = 0;
};

}  // namespace
