/** Room `blockdevice` (level 1): the contract of what is served as a disk. */
export type {
  BlockDevice,
  Completion,
  DeviceCall,
  DeviceExtent,
  DeviceLimits,
  WriteCall,
  ZeroCall,
} from './contract.ts';
export { MemoryDevice } from './memory-device.ts';
