// The native kernel: one translation unit, compiled once for each instruction level.
#include "export.h"
#include "level.h"

// Version of the C interface. Raise it with every change of a signature, here and in library.py:
// a library that an older build left behind is then refused.
KSTEP_EXPORT int kstep_abi(void) { return 1; }
