// Package asm writes host instructions, on amd64.
package asm
