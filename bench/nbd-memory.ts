/**
 * Serves a device in memory over NBD, or with IMAGE that file as it is: `nbd-memory.ts SOCKET SIZE [IMAGE]`. Ends with
 * SIGTERM.
 */
import { MemoryDevice } from '../src/core/blockdevice/index.ts';
import { openImageFile } from '../src/core/image/index.ts';
import { systemClock } from '../src/core/kit/index.ts';
import { NbdServer } from '../src/core/nbd/index.ts';
import { ImageDevice } from '../src/core/restore/index.ts';

const [socket = '', size = '', file] = process.argv.slice(2);
const device =
  file === undefined ? new MemoryDevice(Number(size)) : new ImageDevice(await openImageFile(file), Number(size));
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
