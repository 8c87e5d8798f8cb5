/** Room `follow` (level 3): a block device that follows a volume from holder to holder. It knows NBD, and no gateway. */
export type { FollowEvent, HolderFinder } from './contract.ts';
export { FollowingDevice, type FollowOptions } from './following-device.ts';
export { groupHolders, givenHolders, type GroupSight } from './finders.ts';
export { nameOf } from './holder-rules.ts';
export { parsePlace } from './places.ts';
