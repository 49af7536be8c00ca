package gate

type cacheKey struct{ row, env uint32 }
type cache struct{}

func newCache(int) *cache                                      { return &cache{} }
func (c *cache) get(cacheKey, uint32, string) ([]uint16, bool) { return nil, false }
func (c *cache) put(cacheKey, uint32, string, []uint16)        {}
