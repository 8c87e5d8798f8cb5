/** What stands between the clients of a volume and the volume. */
import { expect, it } from 'vitest';
import type { BlockDevice } from '../../../src/core/blockdevice/index.ts';
import { ReadOnlyDevice } from '../../../src/core/gateway/serving/read-only.ts';
import { WatchedDevice } from '../../../src/core/gateway/serving/watched-device.ts';
import { ControlledDevice } from '../nbd/controlled-device.ts';

it('a volume that is watched takes atomic writes as it would by itself', async () => {
  const device = new ControlledDevice(1 << 20);
  const watched: BlockDevice = new WatchedDevice(device);
  expect(watched.limits).toEqual(device.limits);
  await watched.write(0, Buffer.alloc(8192, 1), { atomic: true });
  expect(device.calls).toEqual(['write atomic']);
});

it('a read-only device has the limits of what it reads, and promises nothing of writes', () => {
  const device = new ControlledDevice(1 << 20);
  const { blockBytesMin, blockBytesPreferred, payloadBytesMax } = device.limits;
  expect(device.limits.atomic).toBeDefined();
  expect(new ReadOnlyDevice(device).limits).toEqual({ blockBytesMin, blockBytesPreferred, payloadBytesMax });
});
