/** What the commands that ask or run a service are made of; the others load none of it. */
export { activateRemotely, isForService, isStoppedThere } from './activate.ts';
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
} from './calls.ts';
export { accountText, limitAccount, limitFlags, limitsIn, showAccount } from './limits.ts';
export { removeAlert, setAlert, showAlerts } from './alert-calls.ts';
export { alertRemovedText, alertSetFields, alertTable } from './alert-views.ts';
export * from './api-views.ts';
export { providedFlags, providedServing } from './provided-flags.ts';
export { serviceRunFlags, serviceRunSettings } from './run.ts';
export { serviceReadyFields } from './views.ts';
