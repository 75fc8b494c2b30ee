// Multiplies matrices of doubles two columns at a time, and prints a checksum
// of the product.
#include <emmintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 96 };

static double a[N][N] __attribute__((aligned(16)));
static double b[N][N] __attribute__((aligned(16)));
static double c[N][N] __attribute__((aligned(16)));

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			a[i][j] = (i * j) % 17 / 7.0;
			b[i][j] = (i + 3 * j) % 13 / 11.0;
		}
	for (int r = 0; r < rounds; r++) {
		for (int i = 0; i < N; i++)
			for (int j = 0; j < N; j += 4) {
				__m128d low = _mm_setzero_pd(), high = _mm_setzero_pd();
				for (int k = 0; k < N; k++) {
					__m128d x = _mm_set1_pd(a[i][k]);
					low = _mm_add_pd(low, _mm_mul_pd(x, _mm_load_pd(&b[k][j])));
					high = _mm_add_pd(high, _mm_mul_pd(x, _mm_load_pd(&b[k][j + 2])));
				}
				_mm_store_pd(&c[i][j], low);
				_mm_store_pd(&c[i][j + 2], high);
			}
		a[0][0] = c[N - 1][N - 1] / (1 + c[0][0]);
	}
	uint64_t sum = 0;
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) {
			uint64_t bits;
			memcpy(&bits, &c[i][j], sizeof bits);
			sum = sum * 31 + bits;
		}
	printf("%016llx\n", (unsigned long long)sum);
	return 0;
}
