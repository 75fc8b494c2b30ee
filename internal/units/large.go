package units

import (
	"fmt"
	"math/big"
)

// Large is a number, or about what it is: "about 3.0·10^59".
func Large(n *big.Int) string {
	text := n.String()
	if len(text) <= 12 {
		return text
	}
	return fmt.Sprintf("about %s.%s·10^%d", text[:1], text[1:2], len(text)-1)
}
