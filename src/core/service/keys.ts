/** The keys of the service's documents (docs/formats/service.md). The only place that spells them. */
export const serviceKeys = {
  accounts: 'service/accounts/',
  account: (accountId: string) => `service/accounts/${accountId}.json`,
  activation: (activationId: string) => `service/activations/${activationId}.json`,
  /** By the hash of an activation key: which activation it is of. */
  token: (hash: string) => `service/tokens/${hash}.json`,
  gateway: (gatewayId: string) => `service/gateways/${gatewayId}.json`,
  /** Whose a volume or snapshot is that a gateway began, also once it is gone. */
  owner: (id: string) => `service/owners/${id}.json`,
  grantsOf: (accountId: string) => `service/grants/${accountId}/`,
  /** What of other accounts' data a volume was granted when it was made. */
  grant: (accountId: string, volumeId: string) => `service/grants/${accountId}/${volumeId}.json`,
  /** Which server runs gc, and when it ran last. */
  gcLease: 'service/leases/gc.json',
  audit: (name: string) => `service/audit/${name}.json`,
} as const;
