package fp

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// rounds is how often each form runs.
func rounds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

func (a wide) big() *big.Float {
	f := new(big.Float).SetPrec(256).SetUint64(a.hi)
	f.SetMantExp(f, 64)
	f.Add(f, new(big.Float).SetPrec(256).SetUint64(a.lo))
	f.SetMantExp(f, int(a.exp)-127)
	if a.neg {
		f.Neg(f)
	}
	return f
}

// big gives a finite number.
func (n number) big() *big.Float { return n.wide().big() }

var bigModes = map[uint8]big.RoundingMode{
	toNearest: big.ToNearestEven, down: big.ToNegativeInf, up: big.ToPositiveInf, toZero: big.ToZero,
}

// TestComputeRounds compares sums, products, quotients and roots of numbers
// of middling size with those of math/big, which rounds too.
func TestComputeRounds(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	random := func(f *format) number {
		sig := (1<<63 | r.Uint64()<<r.IntN(64)) &^ (1<<(64-f.precision) - 1)
		return number{kind: finite, neg: r.IntN(2) == 0, exp: int32(r.IntN(40)) - 20, sig: sig}
	}
	names := []string{"+", "-", "×", "/", "√"}
	for range rounds(100000) {
		f := []*format{single, double, extended24, extended53, extended}[r.IntN(5)]
		a, b := random(f), random(f)
		if r.IntN(8) == 0 {
			a.exp, a.sig = b.exp, b.sig^uint64(1)<<(64-f.precision)|1<<63
		}
		op := operation(r.IntN(5))
		if op == opSqrt {
			b.neg = false
		}
		e := env{mode: uint8(r.IntN(4)), masked: 0x3F}
		got := e.compute(op, f, a, b)
		want := new(big.Float).SetPrec(f.precision).SetMode(bigModes[e.mode])
		switch op {
		case opAdd:
			want.Add(a.big(), b.big())
		case opSub:
			want.Sub(a.big(), b.big())
		case opMul:
			want.Mul(a.big(), b.big())
		case opDiv:
			want.Quo(a.big(), b.big())
		case opSqrt:
			// math/big rounds roots to nearest only. The root at 200 bits
			// shows in which direction the exact one is, if it is not exact.
			root := new(big.Float).SetPrec(200).Sqrt(b.big())
			want.Set(root)
			if e.post != 0 && new(big.Float).SetPrec(256).Mul(want, want).Cmp(b.big()) == 0 {
				t.Errorf("√%v in mode %d is exact, but raised %#x", b.big(), e.mode, e.post)
			}
		}
		if op != opSqrt && (e.post == flagPrecision) != (want.Acc() != big.Exact) {
			t.Errorf("%v %s %v to %d bits in mode %d raised flags %#x", a.big(), names[op], b.big(), f.precision, e.mode, e.post)
		}
		if got.kind == zero {
			got.sig, got.exp = 0, 0
		}
		if got.big().Cmp(want) != 0 {
			t.Errorf("%v %s %v to %d bits in mode %d = %v, want %v", a.big(), names[op], b.big(), f.precision, e.mode, got.big(), want)
		}
	}
}

// bigSeries sums terms until they do not matter to 250 bits.
func bigSeries(first *big.Float, next func(term *big.Float, k int64)) *big.Float {
	sum := new(big.Float).SetPrec(320).Set(first)
	term := new(big.Float).SetPrec(320).Set(first)
	for k := int64(1); term.Sign() != 0 && term.MantExp(nil) > sum.MantExp(nil)-250; k++ {
		next(term, k)
		sum.Add(sum, term)
	}
	return sum
}

func bigInt(k int64) *big.Float { return new(big.Float).SetPrec(320).SetInt64(k) }

func bigAtanh(x *big.Float, sign int64) *big.Float {
	square := new(big.Float).SetPrec(320).Mul(x, x)
	square.Mul(square, bigInt(sign))
	power := new(big.Float).SetPrec(320).Set(x)
	return bigSeries(x, func(term *big.Float, k int64) {
		power.Mul(power, square)
		term.Quo(power, bigInt(2*k+1))
	})
}

func bigLog(x *big.Float) *big.Float {
	z := new(big.Float).SetPrec(320).Quo(new(big.Float).Sub(x, bigInt(1)), new(big.Float).SetPrec(320).Add(x, bigInt(1)))
	return z.Mul(bigAtanh(z, 1), bigInt(2))
}

func TestTranscendental(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	ln2 := bigLog(bigInt(2))
	taylor := func(x *big.Float, first *big.Float, n int64, sign int64) *big.Float {
		square := new(big.Float).SetPrec(320).Mul(x, x)
		square.Mul(square, bigInt(sign))
		return bigSeries(first, func(term *big.Float, k int64) {
			term.Mul(term, square)
			term.Quo(term, bigInt((2*k-n)*(2*k-n+1)))
		})
	}
	functions := []struct {
		name       string
		f          func(wide) wide
		least, top float64
		want       func(x *big.Float) *big.Float
	}{
		{"sineOf", sineOf, -0.785, 0.785, func(x *big.Float) *big.Float { return taylor(x, x, 0, -1) }},
		{"cosineOf", cosineOf, -0.785, 0.785, func(x *big.Float) *big.Float { return taylor(x, bigInt(1), 1, -1) }},
		{"expm1", expm1, -0.7, 0.7, func(x *big.Float) *big.Float {
			return bigSeries(x, func(term *big.Float, k int64) {
				term.Mul(term, x)
				term.Quo(term, bigInt(k+1))
			})
		}},
		{"arctangent", arctangent, 0, 0.6, func(x *big.Float) *big.Float { return bigAtanh(x, -1) }},
		{"log2", log2, 0.3, 3, func(x *big.Float) *big.Float { return new(big.Float).Quo(bigLog(x), ln2) }},
		{"log2Plus1", log2Plus1, -0.29, 0.41, func(x *big.Float) *big.Float {
			return new(big.Float).Quo(bigLog(new(big.Float).SetPrec(320).Add(x, bigInt(1))), ln2)
		}},
	}
	for _, c := range functions {
		for i := range rounds(400) {
			x := c.least + (c.top-c.least)*r.Float64()
			if c.least <= 0 && i%4 == 0 {
				x /= float64(uint64(1) << r.IntN(64))
			}
			n := double.decode(doubles(x, 0)[0])
			got, want := c.f(n.wide()).big(), c.want(n.big())
			difference := new(big.Float).Sub(got, want)
			if difference.Sign() != 0 && difference.MantExp(nil)-want.MantExp(nil) > -118 {
				t.Errorf("%s(%v) is off by 2^%d of the result", c.name, x, difference.MantExp(nil)-want.MantExp(nil))
			}
		}
	}
}

func TestConstants(t *testing.T) {
	ln2 := bigLog(bigInt(2))
	ln10 := bigLog(bigInt(10))
	fifth, other := new(big.Float).SetPrec(320).Quo(bigInt(1), bigInt(5)), new(big.Float).SetPrec(320).Quo(bigInt(1), bigInt(239))
	machin := new(big.Float).Mul(bigAtanh(fifth, -1), bigInt(16))
	machin.Sub(machin, new(big.Float).Mul(bigAtanh(other, -1), bigInt(4)))
	for name, c := range map[string]struct {
		got  wide
		want *big.Float
	}{
		"the logarithm of 2":            {logOf2, ln2},
		"the base 2 logarithm of e":     {log2OfE, new(big.Float).Quo(bigInt(1), ln2)},
		"the base 2 logarithm of 10":    {log2Of10, new(big.Float).Quo(ln10, ln2)},
		"the decimal logarithm of 2":    {log10Of2, new(big.Float).Quo(ln2, ln10)},
		"the circumference of a circle": {pi, machin},
	} {
		if want := new(big.Float).SetPrec(128).Set(c.want); c.got.big().Cmp(want) != 0 {
			t.Errorf("%s = %v, want %v", name, c.got.big(), want)
		}
	}
}
