/** Room `cli` (level 3): what commands are made of. `main.ts` is loaded by the program alone. */
export { gatewayPath } from './gateway-path.ts';
export * from './attachment-flags.ts';
export * from './attachment-views.ts';
export * from './bandwidth.ts';
export * from './command.ts';
export * from './configure.ts';
export * from './cost-views.ts';
export * from './demo.ts';
export * from './doctor-views.ts';
export * from './flags.ts';
export * from './gateway-views.ts';
export { firstIscsiFlag, iscsiFlags, iscsiWishes } from './iscsi-flags.ts';
export * from './map-picture.ts';
export { COLORS, OUTPUTS } from './preferences.ts';
export * from './prompted.ts';
export { parseRecoveryPolicy } from './recovery-policy.ts';
export * from './schedule.ts';
export * from './secrets.ts';
export * from './settings-flags.ts';
export * from './secret-files.ts';
export { activateRemotely, isForService, isStoppedThere } from './service/activate.ts';
export {
  claimGateway,
  configureServiceGateway,
  createAccessKey,
  createRemoteAccount,
  listAccessKeys,
  listRemoteAccounts,
  listServiceGateways,
  revokeAccessKey,
  checkShutdownFlags,
  resumeServiceGateway,
  serviceGatewayOf,
  showServiceGateway,
  shutDownServiceGateway,
} from './service/calls.ts';
export { removeAlert, setAlert, showAlerts } from './service/alert-calls.ts';
export { alertRemovedText, alertSetFields, alertTable } from './service/alert-views.ts';
export * from './service/api-views.ts';
export { providedFlags, providedServing } from './service/provided-flags.ts';
export * from './service-views.ts';
export * from './snapshot-views.ts';
export * from './snapshot-wait.ts';
export * from './store-copy.ts';
export * from './store-location.ts';
export * from './store-views.ts';
export * from './values.ts';
export * from './volume-views.ts';
