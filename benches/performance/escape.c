/* Implements the plain escape loop in a file of its own, so that the compiler cannot adapt it to its caller: see
 * escape.h. */

#include "escape.h"

/* The form of each byte: 0 is the byte itself, 'u' a code point, any other the letter behind a backslash. */
/* Sixteen bytes in a row: */
/* clang-format off */
static const char escapes[256] = {
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
        char form = escapes[byte];
        if (form == 0) {
            *out++ = (char)byte;
        } else if (form != 'u') {
            *out++ = '\\';
            *out++ = form;
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
