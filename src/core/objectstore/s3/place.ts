/**
 * Where a store in an S3 bucket is, as one URL without secrets:
 * `s3://BUCKET/PREFIX?endpoint=URL&region=REGION&path-style=true`. Only the bucket must be there.
 */
import { SgwError } from '../../kit/index.ts';
import { isComponent } from '../arguments.ts';

export interface S3Place {
  readonly bucket: string;
  /** Before every key, without `/` at its ends; empty when the store is the whole bucket. */
  readonly prefix: string;
  /** Base URL of the server; undefined for AWS, or what the SDK's environment says. */
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  /** The bucket in the path instead of the name of the host. */
  readonly pathStyle: boolean;
}

const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/;
const REGION = /^[A-Za-z0-9-]{1,64}$/;
/** S3 keys have at most 1024 bytes, and those of a store 512. */
const PREFIX_LENGTH_MAX = 500;
const OPTIONS = new Set(['endpoint', 'region', 'path-style']);

export const isS3Url = (text: string): boolean => /^s3:\/\//i.test(text);

/** @throws invalid `bad-store` saying what is wrong with it, and never repeating a secret */
export function parseS3Place(text: string): S3Place {
  const url = URL.parse(text.replace(/^s3:/i, 's3:'));
  if (url === null) throw bad('it is not a URL');
  if (url.username !== '' || url.password !== '') throw bad('it holds credentials', CREDENTIALS_HINT);
  const bucket = url.hostname;
  if (!BUCKET.test(bucket) || url.port !== '' || url.hash !== '') throw bad('it does not name a bucket');
  const prefix = url.pathname.replace(/^\/+|\/+$/g, '');
  if (prefix.length > PREFIX_LENGTH_MAX || (prefix !== '' && !prefix.split('/').every(isComponent)))
    throw bad('its prefix is not /-separated components of A-Z a-z 0-9 . _ -');
  for (const name of url.searchParams.keys())
    if (!OPTIONS.has(name))
      throw bad(`it has an option that is not known: ${name.replace(/[^\w-]/g, '?').slice(0, 40)}`);
  const region = url.searchParams.get('region') ?? undefined;
  if (region !== undefined && !REGION.test(region)) throw bad('its region is not a name');
  const pathStyle = url.searchParams.get('path-style') ?? 'false';
  if (!['true', 'false', ''].includes(pathStyle)) throw bad('its path-style is neither true nor false');
  const endpoint = endpointOf(url.searchParams.get('endpoint') ?? undefined);
  return { bucket, prefix, endpoint, region, pathStyle: pathStyle !== 'false' };
}

/** The URL of a place: two places that are the same have the same one. */
export function formatS3Place({ bucket, prefix, endpoint, region, pathStyle }: S3Place): string {
  const options = [
    ...(endpoint === undefined ? [] : [`endpoint=${endpoint}`]),
    ...(region === undefined ? [] : [`region=${region}`]),
    ...(pathStyle ? ['path-style=true'] : []),
  ];
  return `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}${options.length === 0 ? '' : `?${options.join('&')}`}`;
}

function endpointOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol))
    throw bad('its endpoint is not an http or https URL');
  if (url.username !== '' || url.password !== '') throw bad('its endpoint holds credentials', CREDENTIALS_HINT);
  if (url.search !== '' || url.hash !== '') throw bad('its endpoint is more than a host, a port and a path');
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

const CREDENTIALS_HINT =
  'Credentials come from where AWS tools look for them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile.';

function bad(
  what: string,
  hint = 'Write it as s3://BUCKET/PREFIX, with --store-endpoint URL for other servers than AWS.',
): SgwError {
  return new SgwError('invalid', 'bad-store', `the URL given for the store can not be used: ${what}`, { hint });
}
