package scenarios

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/entracache/entracache/fakeserver"
)

// What happens to the nodes of the cache.

func (w *World) keepsConnectionsOnFailover() error {
	return w.otherCache(fakeserver.WithConnectionsKeptOnFailover())
}

func (w *World) failsOverAsPlanned() error { return w.cache.Failover() }

func (w *World) primaryFails(seconds int) error {
	return w.cache.Failover(fakeserver.FailoverUnplanned(), fakeserver.FailoverTakes(w.lane.World(time.Duration(seconds)*time.Second)))
}

func (w *World) cacheLoads(minutes int) error {
	return w.cache.Reboot(fakeserver.RebootLoads(w.span(minutes)))
}

// isPatched begins a maintenance in which everything takes as long as in the example of AzureRedisEvents.md.
func (w *World) isPatched(minutes int) error {
	return w.cache.Patch(fakeserver.PatchScheduled(w.span(minutes)),
		fakeserver.PatchWarned(w.lane.World(20*time.Second), w.lane.World(time.Second)), fakeserver.PatchTakes(w.span(3)))
}

func (w *World) patchingIsOver(minutes int) error {
	ctx, cancel := context.WithTimeout(w.ctx, long+w.lane.Wall(time.Duration(minutes)*time.Minute))
	defer cancel()
	if _, err := w.cache.Wait(ctx, func(e fakeserver.Event) bool { return e.Kind == fakeserver.EventPatched }); err != nil {
		return fmt.Errorf("wait for the end of the patching: %w", err)
	}
	return nil
}

// receivedAnnouncement compares the message with what the cache published, byte for byte.
func (w *World) receivedAnnouncement(kind string) error {
	const most = 30 * time.Minute
	ctx, cancel := context.WithTimeout(w.ctx, long+w.lane.Wall(most))
	defer cancel()
	e, err := w.cache.Wait(ctx, func(e fakeserver.Event) bool {
		return e.Kind == fakeserver.EventMaintenance && strings.HasPrefix(e.Detail, "NotificationType|"+kind+"|")
	})
	if err != nil {
		return fmt.Errorf("the cache has published no announcement %q: %w", kind, err)
	}
	return w.subscriberReceived(e.Detail)
}
