// One round trip with the AWS SDK for JavaScript v3. Files come by argument: SMALL BIG BUCKET ODD_KEY.
import { strict as assert } from "node:assert";
import { createReadStream, readFileSync } from "node:fs";
import { CopyObjectCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand,
  HeadObjectCommand, PutObjectCommand, S3Client, paginateListObjectsV2 } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const [small, big, Bucket, odd] = process.argv.slice(2);
const s3 = new S3Client({
  endpoint: process.env.S3_ENDPOINT, region: process.env.AWS_REGION, forcePathStyle: true, maxAttempts: 1,
});
const bytes = async (answer) => Buffer.from(await answer.Body.transformToByteArray());
const same = (a, b, what) => assert.equal(Buffer.compare(a, b), 0, `${what}: bytes differ`);

await s3.send(new CreateBucketCommand({ Bucket }));
await s3.send(new PutObjectCommand({ Bucket, Key: odd, Body: readFileSync(small), Metadata: { colour: "blue" } }));
await new Upload({ client: s3, params: { Bucket, Key: "big", Body: createReadStream(big) }, partSize: 5 << 20 }).done();
const head = await s3.send(new HeadObjectCommand({ Bucket, Key: odd }));
assert.equal(head.Metadata.colour, "blue");
const keys = [];
for await (const page of paginateListObjectsV2({ client: s3, pageSize: 1 }, { Bucket })) {
  keys.push(...(page.Contents ?? []).map((o) => o.Key));
}
assert.deepEqual(keys, ["big", odd]);
same(await bytes(await s3.send(new GetObjectCommand({ Bucket, Key: odd }))), readFileSync(small), "small");
same(await bytes(await s3.send(new GetObjectCommand({ Bucket, Key: "big" }))), readFileSync(big), "big");
const range = await s3.send(new GetObjectCommand({ Bucket, Key: "big", Range: "bytes=5242870-5242889" }));
same(await bytes(range), readFileSync(big).subarray(5242870, 5242890), "range");
await s3.send(new CopyObjectCommand({ Bucket, Key: "copied", CopySource: `${Bucket}/${encodeURIComponent(odd)}` }));
same(await bytes(await s3.send(new GetObjectCommand({ Bucket, Key: "copied" }))), readFileSync(small), "copy");
const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: odd }));
same(Buffer.from(await (await fetch(url)).arrayBuffer()), readFileSync(small), "presigned GET");
await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: odd, Body: "x", IfNoneMatch: "*" })),
  (e) => e.$metadata?.httpStatusCode === 412);
const gone = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: ["big", odd, "copied"].map((Key) => ({ Key })) } }));
assert.equal(gone.Deleted.length, 3);
await s3.send(new DeleteBucketCommand({ Bucket }));
