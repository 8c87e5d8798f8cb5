/** Words of the verbs of topic `service` that run a server; what a server does is in test/integration/service-run.test.ts. */
import type { Bad, Good } from './verb-cases.ts';

type MakeBad = (why: string, words: readonly string[], code: string, exitCode?: number) => Bad;

/** Of `service run`. */
export const serviceRunCases = (bad: MakeBad): { readonly good: Good[]; readonly bad: Bad[] } => ({
  good: [],
  bad: [
    bad('an address without a port', ['--listen', '0.0.0.0'], 'bad-listen'),
    bad('a port that is none', ['--gateway-listen', '127.0.0.1:70000'], 'bad-listen'),
    bad('an IPv6 address without brackets', ['--gateway-address', '::1:8444'], 'bad-listen'),
    bad('metrics for everybody', ['--metrics-listen', '0.0.0.0:9464'], 'bad-listen'),
    bad('a certificate without its key', ['--tls-cert', '/tmp/c.pem'], 'flag-alone'),
    bad('a name with a port', ['--server-name', 'sgw.example.org:443'], 'bad-server-name'),
    bad('a region that is none', ['--region', 'Here!'], 'bad-region'),
    bad('a bus of another kind', ['--nats', 'http://127.0.0.1:4222'], 'bad-nats'),
    bad('a password on the command line', ['--nats', 'nats://user:kumquat@127.0.0.1:4222'], 'bad-nats'),
    bad('keys that nobody holds', ['--keys', 'customer'], 'bad-choice'),
    bad('an unknown level', ['--log-level', 'loud'], 'bad-choice'),
    bad('a time of the audit that is none', ['--audit-keep', '0d'], 'bad-duration'),
    bad('a time of the audit in hours', ['--audit-keep', '5h'], 'bad-duration'),
    bad('a period of gc that is too short', ['--gc-every', '1m'], 'bad-duration'),
    bad('a timeout that is none', ['--drain-timeout', 'soon'], 'bad-duration'),
    bad('an option of a bucket without one', ['--store-endpoint', 'http://127.0.0.1:9'], 'flag-alone'),
    bad('a surplus argument', ['golden'], 'unexpected-argument'),
    bad('a service key that is not there', ['--service-key-file', '/nonexistent/k'], 'service-key-missing', 3),
  ],
});
