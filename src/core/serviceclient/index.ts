/** Room `serviceclient` (level 2): the caller's side of the service's native API. */
export type { MessageInput, MessageResult } from '../protocol/index.ts';
export type { TlsIdentity } from './channel.ts';
export { ServiceClient, type ServiceClientOptions } from './client.ts';
export {
  certificateFingerprint,
  readCertificate,
  readFingerprint,
  readServiceUrl,
  type ServicePlace,
} from './place.ts';
export { RemoteGateway } from './remote-gateway.ts';
export type { AccessKey } from './sign.ts';
export { placeOfService } from './trust.ts';
