/* The plain escape loop: see escape.h. A file of its own, so that the compiler cannot fit it to its caller. */

#include "escape.h"

/* How a byte is written: 0 as it is, 'u' as a code point, else behind a backslash. */
/* Sixteen bytes a line: */
/* clang-format off */
static const char how[256] = {
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b', 't', 'n', 'u', 'f', 'r', 'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',
    ['"'] = '"', ['\\'] = '\\',
};
/* clang-format on */

char *escape(const char *message, size_t bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)message[i];
        char as = how[byte];
        if (as == 0) {
            *out++ = (char)byte;
        } else if (as != 'u') {
            *out++ = '\\';
            *out++ = as;
        } else {
            *out++ = '\\';
            *out++ = 'u';
            *out++ = '0';
            *out++ = '0';
            *out++ = digits[byte >> 4];
            *out++ = digits[byte & 15];
        }
    }
    return out;
}
