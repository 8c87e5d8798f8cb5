/** Who runs a server, as far as its host's name or its own word tells, and what is known of them: docs/STORES.md. */
import type { StoreFacts } from '../contract.ts';
import type { S3Place } from './place.ts';

interface Provider {
  readonly name: string;
  readonly host?: RegExp;
  /** The Server header of its answers. */
  readonly server?: RegExp;
  readonly limits: readonly string[];
}

const PROVIDERS: readonly Provider[] = [
  {
    name: 'AWS S3',
    host: /(?:^|\.)amazonaws\.com(?:\.cn)?$/,
    server: /^AmazonS3$/,
    limits: [
      'AWS S3 lists directory buckets (S3 Express) in no order: use a general purpose bucket.',
      'AWS S3 bills each request; a rule that moves objects to archive classes makes them unreadable here.',
    ],
  },
  {
    name: 'Cloudflare R2',
    host: /\.r2\.cloudflarestorage\.com$/,
    limits: ['Cloudflare R2 allows one write a second of one and the same key; above that it answers 429.'],
  },
  {
    name: 'Backblaze B2',
    host: /\.backblazeb2\.com$/,
    limits: [
      'Backblaze B2 documents no conditional writes, and keeps old versions until a lifecycle rule removes them.',
    ],
  },
  {
    name: 'Google Cloud Storage',
    host: /(?:^|\.)storage\.googleapis\.com$/,
    server: /^UploadServer$/,
    limits: [
      'Google Cloud Storage takes conditions of its own (x-goog-if-generation-match) instead of If-Match on writes through its S3 interface.',
      'Google Cloud Storage allows about one write a second of one and the same key.',
    ],
  },
  {
    name: 'MinIO',
    server: /^MinIO/i,
    limits: [
      'MinIO before RELEASE.2024-05-07 does not take If-None-Match: *.',
      'MinIO releases of up to 2025-08 replaced absent objects in spite of If-Match (minio #21526), and up to 2025-09 wrote in spite of conditions without a read quorum (minio #21603): use a newer one.',
    ],
  },
  {
    name: 'Ceph RGW',
    server: /^Ceph RGW$/,
    limits: ['Ceph RGW ignores conditions in versioned buckets, and on removals: use a bucket without versions.'],
  },
  {
    name: 'OpenStack Swift',
    server: /^Swift$/,
    limits: ['The S3 interface of OpenStack Swift has no conditional writes: it answers 501.'],
  },
];

/** The provider, and what of it should be known. */
export function providerOf(place: S3Place, server: string | undefined): Pick<StoreFacts, 'provider' | 'limits'> {
  const host = place.endpoint === undefined ? 's3.amazonaws.com' : new URL(place.endpoint).hostname;
  const known = PROVIDERS.find(
    (provider) =>
      provider.host?.test(host) === true || (server !== undefined && provider.server?.test(server) === true),
  );
  return known === undefined ? { provider: null, limits: [] } : { provider: known.name, limits: known.limits };
}
