// Instruction level of the running CPU, asked of the library of the lowest level before another is
// loaded. Levels of x86-64 as in its psABI: https://gitlab.com/x86-psABIs/x86-64-ABI
#pragma once

#include "export.h"

#if defined(__x86_64__)
#include <cpuid.h>

namespace kstep {

// Instructions of level 3 whose names __builtin_cpu_supports has in new compilers only.
inline bool has_movbe_f16c_lzcnt() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    const bool movbe = c & (1u << 22), f16c = c & (1u << 29);
    if (!__get_cpuid(0x80000001u, &a, &b, &c, &d)) return false;
    const bool lzcnt = c & (1u << 5);
    return movbe && f16c && lzcnt;
}

}  // namespace kstep

// 1, 3 or 4. What the operating system does not save for a process counts as absent.
KSTEP_EXPORT int kstep_level(void) {
    __builtin_cpu_init();
    const bool three = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                       __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                       kstep::has_movbe_f16c_lzcnt();
    if (!three) return 1;
    const bool four = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
    return four ? 4 : 3;
}

#else

// 0: this machine has one level.
KSTEP_EXPORT int kstep_level(void) { return 0; }

#endif
