/** Words of `volume connect`; what it does is in test/integration/volume-connect.test.ts. */
import type { Bad, Good } from './verb-cases.ts';

type MakeBad = (why: string, words: readonly string[], code: string, exitCode?: number) => Bad;

const AT = ['golden', '--listen', 'unix:/nonexistent/golden.sock'];

export const connectCases = (bad: MakeBad): { readonly good: Good[]; readonly bad: Bad[] } => ({
  good: [],
  bad: [
    bad('no volume', ['--listen', 'unix:/tmp/x'], 'missing-argument'),
    bad('no place to listen at', ['golden'], 'missing-flag'),
    bad('a place that is none', ['golden', '--listen', '/tmp/x'], 'bad-place'),
    bad('a gateway without a port', [...AT, '--from', '10.0.0.7'], 'bad-place'),
    bad('a list with one that is none', [...AT, '--from', '10.0.0.7:10809,nowhere'], 'bad-place'),
    bad('an export name with a blank', [...AT, '--export', 'a b'], 'bad-name'),
    bad('a silence that is none', [...AT, '--silence-timeout', '1ms'], 'bad-duration'),
    bad('a certificate without its key', [...AT, '--tls-certificate', '/tmp/c.pem'], 'flag-alone'),
    bad('a CA that is not there', [...AT, '--from', '127.0.0.1:1', '--tls-ca', '/nonexistent/ca.pem'], 'bad-tls'),
    bad('a surplus argument', [...AT, 'other'], 'unexpected-argument'),
  ],
});
