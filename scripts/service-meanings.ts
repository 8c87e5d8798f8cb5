/** What the fields of the service's documents mean. */
export const SERVICE_MEANINGS: Readonly<Record<string, string>> = {
  url: 'where customers reach the service',
  gatewayAddress: '`HOST:PORT` that gateways connect to',
  'service-ready.metricsUrl': 'where the metrics are served; null: nowhere',
  serviceId: 'id of the service, which is that of its store',
  'service-ready.region': 'region of the service',
  'service-ready.store': 'the store that everything is kept in',
  caFingerprint: "`sha256:` and the SHA-256 of the CA's certificate in hex: what clients and gateways compare",
  rootAccountId: 'the account that runs the service',
  rootKey: 'its access key, where this start made it, told here and never again; null at every other start',
  accessKeyId: 'name of the access key',
  secretAccessKey: 'its secret',
  'service-ready.pid': 'process of the server',
};
