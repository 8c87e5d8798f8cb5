/** The keys of the service's documents (docs/formats/service.md). The only place that spells them. */
export const serviceKeys = {
  accounts: 'service/accounts/',
  account: (accountId: string) => `service/accounts/${accountId}.json`,
  /** What an account may have at most. */
  limits: (accountId: string) => `service/limits/${accountId}.json`,
  activations: 'service/activations/',
  activation: (activationId: string) => `service/activations/${activationId}.json`,
  tokens: 'service/tokens/',
  /** By the hash of an activation key: which activation it is of. */
  token: (hash: string) => `service/tokens/${hash}.json`,
  gateways: 'service/gateways/',
  gateway: (gatewayId: string) => `service/gateways/${gatewayId}.json`,
  alerts: 'service/alerts/',
  alertsOf: (accountId: string) => `service/alerts/${accountId}/`,
  alert: (accountId: string, alertId: string) => `service/alerts/${accountId}/${alertId}.json`,
  alertStates: 'service/alert-states/',
  alertStatesOf: (accountId: string) => `service/alert-states/${accountId}/`,
  /** Of one gateway, all its alerts. */
  alertState: (accountId: string, gatewayId: string) => `service/alert-states/${accountId}/${gatewayId}.json`,
  groups: 'service/groups/',
  group: (groupId: string) => `service/groups/${groupId}.json`,
  /** Which group has a name, a gateway, a volume: each at most one. */
  groupName: (accountId: string, hash: string) => `service/group-names/${accountId}/${hash}.json`,
  groupMember: (gatewayId: string) => `service/group-members/${gatewayId}.json`,
  groupVolume: (volumeId: string) => `service/group-volumes/${volumeId}.json`,
  /** The service's own CA. */
  authority: 'service/ca.json',
  /** Which account runs the service. */
  root: 'service/root.json',
  accessKeys: 'service/keys/',
  accessKey: (accessKeyId: string) => `service/keys/${accessKeyId}.json`,
  /** Requests that must not be sent again, by their time and a hash of their nonce. */
  nonces: 'service/nonces/',
  nonce: (name: string) => `service/nonces/${name}.json`,
  /** What the Storage Gateway API keeps of gateways and volumes, and the requests to create that it has seen. */
  apiGateways: (accountId: string) => `service/aws/gateways/${accountId}/`,
  apiGateway: (accountId: string, gatewayId: string) => `service/aws/gateways/${accountId}/${gatewayId}.json`,
  apiVolume: (accountId: string, volumeId: string) => `service/aws/volumes/${accountId}/${volumeId}.json`,
  apiToken: (accountId: string, hash: string) => `service/aws/tokens/${accountId}/${hash}.json`,
  owners: 'service/owners/',
  /** Whose a volume or snapshot is that a gateway began, also once it is gone. */
  owner: (id: string) => `service/owners/${id}.json`,
  grantsOf: (accountId: string) => `service/grants/${accountId}/`,
  /** What of other accounts' data a volume was granted when it was made. */
  grant: (accountId: string, volumeId: string) => `service/grants/${accountId}/${volumeId}.json`,
  /** Volumes of the block API, and the requests to make snapshots of one that it has seen. */
  volumes: 'service/volumes/',
  volumesOf: (accountId: string) => `service/volumes/${accountId}/`,
  volume: (accountId: string, volumeId: string) => `service/volumes/${accountId}/${volumeId}.json`,
  snapshotToken: (accountId: string, hash: string) => `service/snapshot-tokens/${accountId}/${hash}.json`,
  /** Which server runs gc, and when it ran last. */
  gcLease: 'service/leases/gc.json',
  /** Keys that the provider holds; no part of the service but providerkeys reads or writes them. */
  accountKeys: 'service/account-keys/',
  accountKey: (accountId: string) => `service/account-keys/${accountId}.json`,
  dataKeys: 'service/data-keys/',
  /** Of a volume or snapshot. */
  dataKey: (id: string) => `service/data-keys/${id}.json`,
  audits: 'service/audit/',
  audit: (name: string) => `service/audit/${name}.json`,
} as const;
