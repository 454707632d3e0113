/*
 * The header on its own, as C99 and as C++17: this file is compiled as both, with every warning an error, and the
 * programs are linked and run, so that the declarations also fit what the library exports.
 */
#include "cwl_sink.h"

#include "cwl_sink.h" /* a second time: it is guarded */

#include <stdio.h>
#include <string.h>

int main(void)
{
    cwl_event event;
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    cwl_status status = cwl_push_event(NULL, &event);
    int fits = cwl_abi_version() >= CWL_ABI_VERSION && status == CWL_ERR_INVALID_ARGUMENT
               && strcmp(cwl_status_name(status), "CWL_ERR_INVALID_ARGUMENT") == 0;
#ifdef __cplusplus
    const char *name = "the_header_serves_cxx17";
#else
    const char *name = "the_header_serves_c99";
#endif
    printf("%s %s\n%d passed, %d failed\n", fits ? "ok" : "not ok", name, fits, !fits);
    return !fits;
}
