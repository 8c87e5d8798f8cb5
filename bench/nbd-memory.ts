/** Serves a device in memory over NBD: `nbd-memory.ts SOCKET SIZE`. Ends with SIGTERM. */
import { MemoryDevice } from '../src/core/blockdevice/index.ts';
import { systemClock } from '../src/core/kit/index.ts';
import { NbdServer } from '../src/core/nbd/index.ts';

const [socket = '', size = ''] = process.argv.slice(2);
const device = new MemoryDevice(Number(size));
const server = new NbdServer({
  clock: systemClock,
  directory: {
    isListed: true,
    list: async () => Promise.resolve([]),
    open: async () =>
      Promise.resolve({
        device,
        name: '',
        description: 'in memory',
        isReadOnly: false,
        isMultiConn: true,
        contexts: [],
        release: async () => Promise.resolve(),
      }),
  },
});
await server.listen({ kind: 'unix', path: socket });
process.once('SIGTERM', () => {
  void server.close({ deadlineMs: 100 });
});
