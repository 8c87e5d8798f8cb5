/** Fields of documents about the management of a gateway from afar. */
export const REMOTE_MEANINGS: Readonly<Record<string, string>> = {
  remoteManagement: 'whether the service may operate the gateway; absent where that is embedded',
  connection:
    'the connection over which the service manages the gateway; absent where the service is embedded, or no daemon runs',
  'gateway.connection.state': '`connecting`, `connected`, `waiting` until it tries again, or `closed`',
  'status.service.connection.state': '`connecting`, `connected`, `waiting` until it tries again, or `closed`',
  'gateway.connection.since': 'since when it is in that state',
  'status.service.connection.since': 'since when it is in that state',
  'gateway.connection.remoteManagement': 'whether the service may operate the gateway',
  'status.service.connection.remoteManagement': 'whether the service may operate the gateway',
  server: 'the server of the service that it is connected to, or tries; null before the first try',
  lastFailure: 'why the last connection ended, or could not be had; null when none ever did',
};
