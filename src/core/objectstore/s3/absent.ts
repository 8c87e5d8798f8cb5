/** That S3 says that there is no such object, or no such part of it. It stays inside this part. */
export class Absent extends Error {
  readonly status: 404 | 416;

  constructor(status: 404 | 416) {
    super(`absent: ${String(status)}`);
    this.status = status;
  }
}
