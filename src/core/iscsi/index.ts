/** Room `iscsi` (level 2): an iSCSI server over block devices. It knows nothing of volumes. */
export { IscsiServer, type IscsiServerOptions } from './server.ts';
export type { UnitIdentity } from './scsi/index.ts';
export type {
  ChapRules,
  OpenedTarget,
  SessionRequest,
  TargetAccess,
  TargetDirectory,
  TargetEntry,
  TargetMoved,
} from './targets.ts';
