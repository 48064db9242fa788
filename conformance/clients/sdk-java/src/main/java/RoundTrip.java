// One round trip with the AWS SDK for Java v2. Arguments: SMALL BIG BUCKET ODD_KEY.
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.S3Configuration;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.ObjectIdentifier;
import software.amazon.awssdk.services.s3.model.S3Exception;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;

public final class RoundTrip {
    private static final int PART_BYTES = 5 << 20;

    private static void check(boolean good, String what) {
        if (!good) {
            throw new AssertionError(what);
        }
    }

    private static byte[] get(S3Client s3, String bucket, String key, String range) {
        return s3.getObjectAsBytes(b -> b.bucket(bucket).key(key).range(range)).asByteArray();
    }

    private static void multipart(S3Client s3, String bucket, byte[] big) {
        String id = s3.createMultipartUpload(b -> b.bucket(bucket).key("big")).uploadId();
        List<CompletedPart> parts = new ArrayList<>();
        for (int at = 0; at < big.length; at += PART_BYTES) {
            int number = parts.size() + 1;
            byte[] body = Arrays.copyOfRange(big, at, Math.min(big.length, at + PART_BYTES));
            String tag = s3.uploadPart(b -> b.bucket(bucket).key("big").uploadId(id).partNumber(number),
                RequestBody.fromBytes(body)).eTag();
            parts.add(CompletedPart.builder().partNumber(number).eTag(tag).build());
        }
        s3.completeMultipartUpload(b -> b.bucket(bucket).key("big").uploadId(id)
            .multipartUpload(m -> m.parts(parts)));
    }

    public static void main(String[] args) throws Exception {
        byte[] small = Files.readAllBytes(Path.of(args[0]));
        byte[] big = Files.readAllBytes(Path.of(args[1]));
        String bucket = args[2];
        String odd = args[3];
        URI endpoint = URI.create(System.getenv("S3_ENDPOINT"));
        S3Configuration path = S3Configuration.builder().pathStyleAccessEnabled(true).build();
        try (S3Client s3 = S3Client.builder().endpointOverride(endpoint).serviceConfiguration(path).build();
            S3Presigner signer = S3Presigner.builder().endpointOverride(endpoint).serviceConfiguration(path).build()) {
            s3.createBucket(b -> b.bucket(bucket));
            s3.putObject(b -> b.bucket(bucket).key(odd).metadata(Map.of("colour", "blue")),
                RequestBody.fromBytes(small));
            multipart(s3, bucket, big);
            check("blue".equals(s3.headObject(b -> b.bucket(bucket).key(odd)).metadata().get("colour")), "metadata");
            List<String> keys = s3.listObjectsV2Paginator(b -> b.bucket(bucket).maxKeys(1)).contents().stream()
                .map(o -> o.key()).toList();
            check(keys.equals(List.of("big", odd)), "listing: " + keys);
            check(Arrays.equals(get(s3, bucket, odd, null), small), "small");
            check(Arrays.equals(get(s3, bucket, "big", null), big), "big");
            check(Arrays.equals(get(s3, bucket, "big", "bytes=5242870-5242889"),
                Arrays.copyOfRange(big, 5242870, 5242890)), "range");
            s3.copyObject(b -> b.sourceBucket(bucket).sourceKey(odd).destinationBucket(bucket).destinationKey("copied"));
            check(Arrays.equals(get(s3, bucket, "copied", null), small), "copy");
            URI url = signer.presignGetObject(b -> b.signatureDuration(Duration.ofMinutes(5))
                .getObjectRequest(g -> g.bucket(bucket).key(odd))).url().toURI();
            check(Arrays.equals(url.toURL().openStream().readAllBytes(), small), "presigned GET");
            try {
                s3.putObject(b -> b.bucket(bucket).key(odd).ifNoneMatch("*"), RequestBody.empty());
                check(false, "If-None-Match: * overwrote");
            } catch (S3Exception refused) {
                check(refused.statusCode() == 412, "If-None-Match: " + refused.getMessage());
            }
            List<ObjectIdentifier> all = List.of("big", odd, "copied").stream()
                .map(k -> ObjectIdentifier.builder().key(k).build()).toList();
            check(s3.deleteObjects(b -> b.bucket(bucket).delete(d -> d.objects(all))).deleted().size() == 3, "delete");
            s3.deleteBucket(b -> b.bucket(bucket));
        }
    }
}
