/*
 * Tests the header alone, as C99 and as C++17. This file is compiled as both, with every warning an error. The programs
 * are linked and run, so that the declarations must also match the functions of the library.
 */
#include "cwl_sink.h"

#include "cwl_sink.h" /* included twice: the header has a guard */

#include <stdio.h>
#include <string.h>

int main(void)
{
    cwl_event event;
    memset(&event, 0, sizeof event);
    event.struct_size = sizeof event;
    cwl_status status = cwl_push_event(NULL, &event);
    int matches = cwl_abi_version() >= CWL_ABI_VERSION && status == CWL_ERR_INVALID_ARGUMENT
                  && strcmp(cwl_status_name(status), "CWL_ERR_INVALID_ARGUMENT") == 0;
#ifdef __cplusplus
    const char *name = "the_header_compiles_and_links_as_cxx17";
#else
    const char *name = "the_header_compiles_and_links_as_c99";
#endif
    printf("%s %s\n%d passed, %d failed\n", matches ? "ok" : "not ok", name, matches, !matches);
    return !matches;
}
