import { MemoryDevice } from '../../src/core/blockdevice/index.ts';
import { blockDeviceContract, type DeviceUnderTest } from './blockdevice.ts';

const open = async (sizeBytes: number, isReadOnly = false): Promise<DeviceUnderTest> =>
  Promise.resolve({ device: new MemoryDevice(sizeBytes, { isReadOnly }), close: async () => Promise.resolve() });

blockDeviceContract('memory', async (sizeBytes) => open(sizeBytes), {
  openReadOnly: async (sizeBytes) => open(sizeBytes, true),
});
