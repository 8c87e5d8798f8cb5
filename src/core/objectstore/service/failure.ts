/** What goes wrong between a gateway and the data endpoint, as errors of sgw. What the service refuses with comes as it is. */
import { SgwError, type ErrorDocument } from '../../kit/index.ts';
import { formatServicePlace, type ServicePlace } from './place.ts';

const UNREACHABLE_HINT = 'Check the network and the address of the service, then run the same command again.';
const CERTIFICATE_HINT =
  'Check the address of the service. If the gateway was away for long, its certificate is over: activate it anew.';

/** OpenSSL's and Node.js's names of what certificates fail with, on either side. */
const CERTIFICATE =
  /^(?:CERT_|DEPTH_ZERO_SELF_SIGNED|SELF_SIGNED_CERT|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|ERR_SSL_\w*(?:CERTIFICATE|UNKNOWN_CA|BAD_CERT))/;

/** No answer, or one that is not whole. */
export function unanswered(error: unknown, what: string, place: ServicePlace): SgwError {
  if (error instanceof SgwError) return error;
  const code = codeOf(error);
  const details = { store: formatServicePlace(place) };
  if (CERTIFICATE.test(code)) {
    const message = `the service at ${formatServicePlace(place)} and this gateway do not trust each other (${code})`;
    return new SgwError('denied', 'store-certificate', message, { hint: CERTIFICATE_HINT, details });
  }
  return new SgwError('unavailable', 'store-unreachable', `the service could not be asked to ${what} (${code})`, {
    hint: UNREACHABLE_HINT,
    details,
  });
}

function codeOf(error: unknown): string {
  const { code, cause, errors } = error as {
    readonly code?: unknown;
    readonly cause?: { readonly code?: unknown };
    readonly errors?: readonly { readonly code?: unknown }[];
  };
  const found = [code, cause?.code, errors?.[0]?.code].find((one) => typeof one === 'string' && /^\w{1,80}$/.test(one));
  return typeof found === 'string' ? found : 'no answer';
}

export function tooSlow(what: string, timeoutMs: number, place: ServicePlace): SgwError {
  const message = `the service took more than ${String(Math.round(timeoutMs / 1000))} s to ${what}`;
  return new SgwError('timeout', 'store-timeout', message, {
    hint: UNREACHABLE_HINT,
    details: { store: formatServicePlace(place) },
  });
}

/** What a refusal says; an answer that is none of the service's is an outage. */
export function refusal(status: number, body: string, what: string, place: ServicePlace): SgwError {
  const told = toldError(body);
  if (told !== undefined) return told;
  const message = `something at ${formatServicePlace(place)} answered ${String(status)} to ${what}, and it is not the service`;
  return new SgwError(status === 403 || status === 401 ? 'denied' : 'unavailable', 'store-unreachable', message, {
    hint: 'Check the address of the service, and proxies in front of it.',
    details: { store: formatServicePlace(place), status },
  });
}

/** The error in a document of the service; undefined when it is none. */
export function toldError(body: string): SgwError | undefined {
  try {
    const { error } = JSON.parse(body) as { readonly error?: Partial<ErrorDocument> };
    if (typeof error?.code !== 'string' || typeof error.kind !== 'string' || typeof error.message !== 'string')
      return undefined;
    return SgwError.fromDocument({ hint: null, details: {}, retryable: false, ...error } as ErrorDocument);
  } catch {
    return undefined;
  }
}

export function shortReply(got: number, wanted: number, key: string): SgwError {
  const message = `the service sent ${String(got)} of ${String(wanted)} bytes of ${key}`;
  return new SgwError('unavailable', 'short-reply', message, { details: { key } });
}
