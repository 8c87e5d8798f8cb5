import { MemoryDevice } from '../../src/core/blockdevice/index.ts';
import { blockDeviceContract } from './blockdevice.ts';

blockDeviceContract('memory', async (sizeBytes) =>
  Promise.resolve({ device: new MemoryDevice(sizeBytes), close: async () => Promise.resolve() }),
);
