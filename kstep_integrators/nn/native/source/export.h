// The plain C names that Python calls; everything else in the library is hidden.
#pragma once

#define KSTEP_EXPORT extern "C" __attribute__((visibility("default")))
