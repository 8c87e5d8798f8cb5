/** Room `protocol` (level 1): what gateways, customers and the service say to each other, and how it is signed. */
export { newActivationKey, readActivationKey } from './activation-key.ts';
export { certificateRequest } from './certificate-request.ts';
export { canonicalJson } from './canonical.ts';
export {
  DEFAULT_PROVIDED_SERVING,
  type ConfigurationChanges,
  type ConfigurationEffect,
  type ConfigurationReceipt,
  type ConfigurationRequest,
  type ConfigurationStanding,
  type GatewayConfiguration,
  type ProvidedServing,
  type RequestAnswer,
} from './configuration.ts';
export type { AlertFiring, AlertRecord, AlertThresholds, AlertWish, ThresholdName } from './alerts.ts';
export { readDownFrame, readUpFrame, sentError } from './control-codec.ts';
export * from './control-frames.ts';
export * from './groups.ts';
export * from './message-checks.ts';
export { activationIdOf, fingerprintOf, isPublicKey, PrivateKey, publicKeyOf, webKeysOf } from './identity-key.ts';
export type {
  AccessKeyRecord,
  AccountRecord,
  ActivationMetadata,
  Credential,
  CustomerInformation,
  GatewaySummary,
  Grant,
  MessageInput,
  MessageName,
  MessageResult,
  Signed,
  SignedBody,
  SignedMessageName,
} from './messages.ts';
export { LIMIT_NAMES, NO_LIMITS, type AccountLimits, type AccountUsage, type LimitName } from './quotas.ts';
export { isSignatureOf, signRequest, type Signer } from './signing.ts';
export { inMemoryTransport, type ServiceConnections, type ServiceTransport } from './transport.ts';
