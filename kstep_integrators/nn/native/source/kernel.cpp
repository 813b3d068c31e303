// The C interface of the kernel: energies and forces of PaiNN networks on the CPU.
//
// Functions that can fail return null or 1, which is for want of memory or of threads; nothing else
// is checked here: the Python side has.
#include "export.h"
#include "level.h"
#include "system.h"

namespace {

template <class Work> int guarded(Work work) {
    try {
        work();
        return 0;
    } catch (...) {
        return 1;
    }
}

template <class T>
System* new_system(const std::shared_ptr<Network>& network, int molecules, const int32_t* first, const int32_t* species, const double* cells,
                   const int32_t* periodic) {
    return new SystemOf<T>(std::static_pointer_cast<NetworkOf<T>>(network), molecules, first, species, cells, periodic);
}

struct NetworkHandle {
    std::shared_ptr<Network> network;
    bool is_double;
};

}  // namespace

// Version of the C interface. Raise it with every change of a signature, here and in library.py:
// a library that an older build left behind is then refused.
KSTEP_EXPORT int kstep_abi(void) { return 5; }

KSTEP_EXPORT void* kstep_network_new(const KStepSizes* sizes, const double* numbers) {
    void* made = nullptr;
    guarded([&] {
        auto handle = std::make_unique<NetworkHandle>();
        handle->is_double = sizes->is_double != 0;
        if (handle->is_double) handle->network = std::make_shared<NetworkOf<double>>(*sizes, numbers);
        else handle->network = std::make_shared<NetworkOf<float>>(*sizes, numbers);
        made = handle.release();
    });
    return made;
}
KSTEP_EXPORT void kstep_network_free(void* network) { delete static_cast<NetworkHandle*>(network); }
KSTEP_EXPORT uint64_t kstep_network_bytes(void* network) { return static_cast<NetworkHandle*>(network)->network->bytes(); }

// first: [molecules + 1], where the atoms of each begin; cells: [molecules][9] or null.
KSTEP_EXPORT void* kstep_system_new(void* network, int32_t molecules, const int32_t* first, const int32_t* species,
                                    const double* cells, const int32_t* periodic) {
    void* made = nullptr;
    guarded([&] {
        const auto* handle = static_cast<NetworkHandle*>(network);
        made = handle->is_double ? new_system<double>(handle->network, molecules, first, species, cells, periodic)
                                 : new_system<float>(handle->network, molecules, first, species, cells, periodic);
    });
    return made;
}
KSTEP_EXPORT void kstep_system_free(void* system) { delete static_cast<System*>(system); }
KSTEP_EXPORT uint64_t kstep_system_bytes(void* system) { return static_cast<System*>(system)->bytes(); }
KSTEP_EXPORT uint64_t kstep_system_pairs(void* system) { return static_cast<System*>(system)->pairs(); }

KSTEP_EXPORT int kstep_forces(void* system, const double* linear, const double* x, int32_t threads, double* energy, double* f) {
    return guarded([&] { static_cast<System*>(system)->forces(linear, x, threads, energy, f); });
}
KSTEP_EXPORT int kstep_flow(void* system, const double* linear, const double* inverse_masses, const double* mobile, double timestep,
                            int32_t steps, int32_t threads, double* x, double* p, double* energy, double* f) {
    return guarded([&] {
        static_cast<System*>(system)->flow(linear, inverse_masses, mobile, timestep, steps, threads, x, p, energy, f);
    });
}
KSTEP_EXPORT int kstep_hessian(void* system, const double* linear, const double* x, int32_t count, const double* vectors,
                               int32_t threads, double* products) {
    return guarded([&] { static_cast<System*>(system)->hessian(linear, x, count, vectors, threads, products); });
}
KSTEP_EXPORT int kstep_average(void* system, const double* linear, const double* rest, const double* rate, const double* weights,
                               int32_t first, int32_t last, int32_t threads, double* path, double* mean) {
    return guarded([&] { static_cast<System*>(system)->average(linear, rest, rate, weights, first, last, threads, path, mean); });
}
KSTEP_EXPORT int kstep_average_adjoint(void* system, const double* linear, const double* rate, const double* weights, const double* path,
                                       const double* g, int32_t first, int32_t last, int32_t threads, double* ahead, double* after) {
    return guarded([&] {
        static_cast<System*>(system)->average_adjoint(linear, rate, weights, path, g, first, last, threads, ahead, after);
    });
}
KSTEP_EXPORT int kstep_functions(void* system, const double* x, int32_t count, const int32_t* coordinates, int32_t threads,
                                 double* sums, double* slopes) {
    return guarded([&] { static_cast<System*>(system)->functions(x, count, coordinates, threads, sums, slopes); });
}
