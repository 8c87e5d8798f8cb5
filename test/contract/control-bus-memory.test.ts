import { systemClock } from '../../src/core/kit/index.ts';
import { MemoryBus, MemoryHub } from '../../src/core/service/controlplane/memory-bus.ts';
import { describeControlBus } from './control-bus.ts';

describeControlBus('memory', async () => {
  const hub = new MemoryHub();
  let servers = 0;
  return Promise.resolve({
    make: async () => {
      const serverId = `srv-${String(++servers)}`;
      const address = `https://127.0.0.1:${String(servers)}`;
      return Promise.resolve(new MemoryBus({ serverId, address, clock: systemClock, hub }));
    },
    [Symbol.asyncDispose]: async () => Promise.resolve(),
  });
});
