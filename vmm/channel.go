package vmm

// channelName is the port that a guest's agent opens,
// /dev/virtio-ports/nvlab.agent.
const channelName = "nvlab.agent"

// A Channel is the host's end of a stream of bytes to a program in the guest.
// It makes no frames.
type Channel struct{ m *Machine }

// Channel returns the host's end of the agent's channel.
func (m *Machine) Channel() Channel { return Channel{m} }

// Send queues bytes, which are copied. They reach the guest while a program
// has the port open; closing it discards the rest.
func (c Channel) Send(p []byte) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.devices.channel.Send(p)
}

// Receive takes all that the guest sent, which is the caller's from then on.
// The guest waits once 4 MiB are there.
func (c Channel) Receive() []byte {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.m.devices.channel.Receive()
}

// Found says that the guest's driver has found the channel, which is before any
// program can open the port.
func (c Channel) Found() bool {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.m.devices.channel.Found()
}

// Connected says that a program in the guest has the port open.
func (c Channel) Connected() bool {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.m.devices.channel.Open
}
